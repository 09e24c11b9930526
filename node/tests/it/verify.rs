use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{run, stderr, stdout};

const FAIL: Option<i32> = Some(1);
const CANNOT_JUDGE: Option<i32> = Some(2);

#[test]
fn cannot_judge_what_is_no_media() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "this is no video\n".repeat(100)).unwrap();
    let text = text.display().to_string();
    let output = run(&["verify", &text, &text, "--json"]);
    assert_eq!(output.status.code(), CANNOT_JUDGE);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(answer["verdict"].is_null(), "{answer}");
    assert!(answer["reason"].as_str().is_some_and(|reason| reason.contains("source")), "{answer}");
}

#[test]
fn cannot_judge_a_file_that_is_not_there() {
    let output = run(&["verify", "/nowhere/source.ts", "/nowhere/rendition.ts"]);
    assert_eq!(output.status.code(), CANNOT_JUDGE);
}

#[test]
fn a_verdict_comes_with_the_quality() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(&folder.path().join("clip.ts"), "320x180", &[]);
    let output = run(&["verify", &clip, &clip]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("quality: PSNR 100.00 dB, SSIM 1.0000, detail 100.0 %, over 3 frames"), "{text}");
    assert!(text.contains("% of the agreed rate"), "{text}");
}

/// A second of FFmpeg's test picture at this size and in this format.
fn clip(path: &Path, size: &str, more: &[&str]) -> String {
    let picture = format!("testsrc2=size={size}:rate=30");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-f", "lavfi", "-i", &picture, "-t", "1", "-c:v", "libx264"]);
    command.args(["-preset", "ultrafast", "-b:v", "2M"]).args(more).args(["-f", "mpegts"]).arg(path);
    let made = command.output().expect("the ffmpeg command is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    path.display().to_string()
}

/// Size and comment of a picture that decodes.
fn png(path: &Path) -> (u32, u32, String) {
    let file = std::io::BufReader::new(std::fs::File::open(path).expect("a picture"));
    let mut reader = png::Decoder::new(file).read_info().expect("a header");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a bounded size")];
    let frame = reader.next_frame(&mut pixels).expect("pixels");
    let texts = &reader.info().uncompressed_latin1_text;
    let comment = texts.iter().find(|text| text.keyword == "Comment").expect("a comment");
    (frame.width, frame.height, comment.text.clone())
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("a folder").count()
}

#[test]
fn draws_a_picture_of_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let source = clip(&folder.path().join("source.ts"), "640x360", &[]);
    let logo = ["-vf", "drawbox=x=80:y=160:w=96:h=64:color=white:t=fill"];
    let rendition = clip(&folder.path().join("rendition.ts"), "640x360", &logo);
    let out = folder.path().join("out.png");
    let arguments = ["verify", &source, &rendition, "--json", "--picture", &out.display().to_string()];
    let output = run(&arguments);
    assert_eq!(output.status.code(), FAIL, "{}", stderr(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["picture"]["path"], out.display().to_string());
    assert!(answer["picture"]["frame"].is_u64(), "{answer}");
    let (width, height, comment) = png(&out);
    assert!(width > 3 * 640 && height > 2 * 360);
    assert!(comment.starts_with("FAIL") && comment.contains("mean_cells is"), "{comment}");
    assert!(comment.contains(answer["report_hash"].as_str().unwrap()));
    let plain = run(&["verify", &source, &rendition, "--json"]);
    let plain: Value = serde_json::from_slice(&plain.stdout).unwrap();
    assert_eq!(plain["report_hash"], answer["report_hash"]);
}

#[test]
fn draws_portrait_sources_of_ten_bits_and_odd_sides() {
    let folder = tempfile::tempdir().unwrap();
    let high = ["-pix_fmt", "yuv444p10le"];
    let source = clip(&folder.path().join("source.ts"), "361x641", &high);
    let rendition = folder.path().join("rendition.ts");
    let rendition = clip(&rendition, "361x641", &["-vf", "scale=180:320", "-pix_fmt", "yuv420p"]);
    let out = folder.path().join("out.png");
    let output =
        run(&["verify", &source, &rendition, "--picture", &out.display().to_string(), "--frame", "29"]);
    assert!(stdout(&output).contains("picture of frame 29: "), "{} {}", stdout(&output), stderr(&output));
    let (_, _, comment) = png(&out);
    assert!(comment.starts_with("pass"), "{comment}");
}

#[test]
fn draws_the_source_alone_where_no_frame_is_compared() {
    let folder = tempfile::tempdir().unwrap();
    let source = clip(&folder.path().join("source.ts"), "320x180", &[]);
    let rendition = clip(&folder.path().join("rendition.ts"), "320x180", &["-vf", "fps=15"]);
    let out = folder.path().join("out.png");
    let output = run(&["verify", &source, &rendition, "--json", "--picture", &out.display().to_string()]);
    assert_eq!(output.status.code(), FAIL, "{}", stderr(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["tier"], &answer["picture"]["frame"]), (&Value::from(0), &Value::Null));
    assert!(png(&out).2.contains("no frame was compared"));
}

#[test]
fn a_frame_that_is_not_there_cannot_be_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip(&folder.path().join("clip.ts"), "320x180", &[]);
    let out = folder.path().join("out.png");
    let output = run(&["verify", &clip, &clip, "--picture", &out.display().to_string(), "--frame", "30"]);
    assert_eq!(output.status.code(), CANNOT_JUDGE);
    assert!(stderr(&output).contains("no frame 30 to look at: 30"), "{}", stderr(&output));
    assert_eq!(entries(folder.path()), 1, "nothing half-made is left");
}

#[test]
fn a_picture_that_cannot_be_written_is_refused_before_anything_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    for unwritable in [format!("{path}/nowhere/out.png"), path.clone()] {
        // The clips do not exist, which would be said if they were read first.
        let output =
            run(&["verify", "/nowhere/source.ts", "/nowhere/rendition.ts", "--picture", &unwritable]);
        assert_eq!(output.status.code(), CANNOT_JUDGE);
        assert!(stderr(&output).contains("cannot write a picture to"), "{}", stderr(&output));
    }
    assert_eq!(entries(folder.path()), 0);
}
