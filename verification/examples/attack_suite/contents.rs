//! What the suite shows: the clips that bounds were fitted on, and others.

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use framemill_media::{MediaLimits, segment_info};

use crate::clips::{self, segment};
use crate::picture::Content;
use crate::studio::Clip;

/// A clip to be judged renditions of.
pub(crate) struct Subject {
    pub(crate) clip: Clip,
    /// Whether bounds were fitted on it.
    pub(crate) fitted: bool,
}

/// The clips of these files, or the suite's own where none is given; made once where there is a folder to keep them in.
pub(crate) fn subjects(given: &[PathBuf], cache: Option<&Path>) -> Vec<Subject> {
    if !given.is_empty() {
        let read = |path: &PathBuf| clips::file(path, 0).expect("clip can be read");
        return given.iter().map(|path| Subject { clip: read(path), fitted: false }).collect();
    }
    let synthetic = Content::ALL.iter().filter_map(|&content| {
        kept(cache, &format!("{content:?}"), || Some(clips::synthetic_at(START, content, 0, 1280, 720)))
    });
    let drawn = |set: &'static [(&'static str, &'static str)]| {
        set.iter().filter_map(|(name, picture)| {
            kept(cache, name, || Some(clips::generated(name, picture, &["-pix_fmt", "yuv420p"])))
        })
    };
    let derived = |set: &'static [Derived]| set.iter().filter_map(|one| kept(cache, one.name, || one.clip()));
    let real = clips::real_set().iter().cloned();
    let fitted = synthetic.chain(real).chain(drawn(&DRAWN)).chain(derived(&DERIVED));
    let fresh = drawn(&FRESH_DRAWN).chain(derived(&FRESH_DERIVED));
    fitted
        .map(|clip| Subject { clip, fitted: true })
        .chain(fresh.map(|clip| Subject { clip, fitted: false }))
        .collect()
}

/// First time of drawn clips: the command's own muxer does not take times that pass the end of the 33-bit clock.
const START: i64 = 900_000;

/// The clip of this name from the folder, or made and put there.
fn kept(cache: Option<&Path>, name: &str, make: impl FnOnce() -> Option<Clip>) -> Option<Clip> {
    let path = cache.map(|folder| folder.join(format!("source-{name}")));
    if let Some(data) = path.as_ref().and_then(|path| std::fs::read(path).ok()) {
        let data = Bytes::from(data);
        let info = segment_info(&data, &MediaLimits::segment()).expect("what was made can be read");
        let rate = info.video.expect("clip has pictures").frame_rate;
        return Some(Clip { name: name.into(), data, rate });
    }
    let clip = make()?;
    if let Some(path) = path {
        std::fs::write(path, &clip.data).expect("cache can be written");
    }
    Some(clip)
}

/// What FFmpeg draws, of the contents that bounds were fitted on.
const DRAWN: [(&str, &str); 13] = [
    (
        "game",
        "mandelbrot=s=1280x720:r=30:start_scale=0.05:end_scale=0.001,drawgrid=w=320:h=180:t=3:c=red,\
         drawbox=x=40:y=600:w=300:h=80:c=blue@0.6:t=fill",
    ),
    ("portrait", "mandelbrot=s=720x1280:r=30,format=yuv420p,noise=alls=6:allf=t"),
    (
        "interlaced-looking",
        "testsrc2=s=1280x720:r=60,format=yuv420p,noise=alls=4:allf=t,tinterlace=mode=interleave_top",
    ),
    ("carpet", "sierpinski=s=1280x720:r=30:type=carpet,boxblur=2"),
    ("flickering-dots", "gradients=s=720x1280:r=30:n=5:speed=0.05,noise=alls=6:allf=t"),
    ("smooth", "gradients=s=1280x720:r=30:n=3:speed=0.02:seed=7:c0=navy:c1=orange:c2=teal,format=yuv420p"),
    (
        "life",
        "life=s=160x90:r=30:mold=10:random_seed=3:life_color=#c83232:death_color=#3232c8,scale=1280x720:flags=neighbor",
    ),
    (
        "cut",
        "testsrc2=s=1280x720:r=30,format=yuv420p[a];mandelbrot=s=1280x720:r=30,format=yuv420p[b];\
         [a][b]blend=all_expr='if(lt(N,17),A,B)'",
    ),
    ("fine-noise", "cellauto=s=320x180:r=30:rule=110:scroll=1:random_seed=5,scale=1280x720,gblur=2"),
    ("bars", "smptehdbars=s=1280x720:r=30,format=yuv420p,noise=alls=8:allf=t"),
    ("counter", "testsrc=s=1280x720:r=30,format=yuv420p"),
    (
        "spiral",
        "mandelbrot=s=1280x720:r=30:start_x=-0.743:start_y=-0.1318:start_scale=0.02:end_scale=0.002:inner=period,\
         hue=h=80:s=1.4,format=yuv420p",
    ),
    ("snow", "color=gray:s=1280x720:r=30,format=yuv420p,noise=alls=70:allf=t"),
];

/// What FFmpeg draws of contents that no bound was fitted on.
const FRESH_DRAWN: [(&str, &str); 6] = [
    (
        "waves",
        "nullsrc=s=1280x720:r=30,format=yuv420p,geq=lum='128+60*sin(X/17+N/8)+40*cos(Y/29-N/11)':cb='128+50*sin((X+Y)/90+N/20)':cr='128+40*cos(X/70-N/15)'",
    ),
    (
        "scrolled-bars",
        "pal75bars=s=1280x720:r=30,format=yuv420p,scroll=horizontal=0.004:vertical=0.002,noise=alls=12:allf=t",
    ),
    (
        "hues",
        "mandelbrot=s=1280x720:r=30:start_x=-0.745:start_y=0.11:start_scale=0.03:end_scale=0.004,hue=h=4*n,format=yuv420p",
    ),
    (
        "strobe",
        "testsrc2=s=1280x720:r=30,format=yuv420p,eq=brightness='0.08*sin(n*2)':eval=frame,noise=alls=5:allf=t",
    ),
    ("turning", "testsrc=s=1280x720:r=30,format=yuv420p,rotate=a=n/40:c=teal"),
    ("spectrum", "colorspectrum=s=1280x720:r=30,format=yuv420p,scroll=horizontal=0.01,noise=alls=3:allf=t"),
];

/// Real pictures, changed.
struct Derived {
    name: &'static str,
    file: &'static str,
    /// First second.
    from: &'static str,
    filters: &'static str,
}

/// Those that bounds were fitted on.
const DERIVED: [Derived; 14] = [
    Derived {
        name: "kitchen-night",
        file: "kitchen-1080p60-2s.mp4",
        from: "0",
        filters: "crop=1280:720:300:200,fps=30,eq=brightness=-0.25:contrast=0.6,noise=alls=10:allf=t",
    },
    Derived {
        name: "kitchen-portrait",
        file: "kitchen-1080p60-2s.mp4",
        from: "0.2",
        filters: "crop=606:1080:900:0,scale=720:1280,fps=30",
    },
    Derived {
        name: "kitchen-fade",
        file: "kitchen-1080p60-2s.mp4",
        from: "0",
        filters: "scale=1280:720,fps=30,fade=out:10:30",
    },
    Derived {
        name: "kitchen-still",
        file: "kitchen-1080p60-2s.mp4",
        from: "0",
        filters: "scale=1280:720,fps=30,loop=loop=60:size=1:start=3,setpts=N/30/TB,noise=alls=2:allf=t",
    },
    Derived {
        name: "car-fast",
        file: "car-720p-segment-1.ts",
        from: "0",
        filters: "setpts=PTS/3,fps=30,hflip",
    },
    Derived {
        name: "car-grain",
        file: "car-720p-segment-2.ts",
        from: "0.5",
        filters: "fps=30,eq=saturation=1.5,noise=alls=16:allf=t",
    },
    Derived {
        name: "desk-large",
        file: "desk-360p-aac.flv",
        from: "8",
        filters: "scale=1280:-2:flags=bicubic,crop=1280:720,fps=30",
    },
    Derived {
        name: "game-grey",
        file: "bad-missing-dts.ts",
        from: "0.5",
        filters: "scale=1280:720,fps=30,eq=saturation=0.3:gamma=1.3",
    },
    Derived {
        name: "screen-pan",
        file: "bad-duplicate-audio-dts.ts",
        from: "1",
        filters: "scale=1920:1080,crop=1280:720:n*9:n*3,fps=30",
    },
    Derived {
        name: "desk-vivid",
        file: "desk-360p-aac.flv",
        from: "3",
        filters: "scale=1280:-2,crop=1280:720,fps=30,eq=saturation=1.8:contrast=1.2",
    },
    Derived {
        name: "kitchen-turned",
        file: "kitchen-1080p60-2s.mp4",
        from: "0.4",
        filters: "transpose=1,scale=720:1280,fps=30",
    },
    Derived {
        name: "game-fast",
        file: "bad-missing-dts.ts",
        from: "0",
        filters: "scale=1280:720,setpts=PTS/2,fps=60,vflip",
    },
    Derived {
        name: "dark-lifted",
        file: "dark-720p-422.ts",
        from: "5",
        filters: "fps=30,eq=gamma=1.7:saturation=1.3,noise=alls=5:allf=t",
    },
    Derived {
        name: "car-fields",
        file: "car-720p-segment-2.ts",
        from: "0",
        filters: "tinterlace=mode=interleave_top,scale=1280:720",
    },
];

/// Those that no bound was fitted on.
const FRESH_DERIVED: [Derived; 5] = [
    Derived {
        name: "kitchen-sharp",
        file: "kitchen-1080p60-2s.mp4",
        from: "0.3",
        filters: "scale=1280:720,fps=30,unsharp=7:7:1.5",
    },
    Derived {
        name: "car-mirrored",
        file: "car-720p-segment-1.ts",
        from: "0.3",
        filters: "fps=30,crop=640:720:200:0,split[a][b];[b]hflip[c];[a][c]hstack,eq=saturation=0.6",
    },
    Derived {
        name: "game-zoom",
        file: "bad-missing-dts.ts",
        from: "0.2",
        filters: "zoompan=z='1+0.01*on':d=1:s=1280x720:fps=30",
    },
    Derived {
        name: "desk-film",
        file: "desk-360p-aac.flv",
        from: "5",
        filters: "scale=1280:-2,crop=1280:720,fps=24,curves=vintage,noise=alls=14:allf=t+u",
    },
    Derived {
        name: "screen-inverted",
        file: "bad-duplicate-audio-dts.ts",
        from: "0.5",
        filters: "scale=1280:720,fps=30,negate",
    },
];

impl Derived {
    /// A second and a half of it; none where the real clip is not at hand.
    fn clip(&self) -> Option<Clip> {
        let path = clips::folder().join(self.file);
        if !path.exists() {
            return None;
        }
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-fflags", "+genpts", "-i"]).arg(path);
        command.args(["-ss", self.from, "-t", "1.5", "-an", "-vf", self.filters, "-pix_fmt", "yuv420p"]);
        command.args(["-c:v", "libx264", "-preset", "veryfast", "-crf", "16", "-f", "mpegts", "-"]);
        let made = command.output().expect("the ffmpeg command is installed");
        assert!(made.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&made.stderr));
        Some(segment(self.name, made.stdout, 0))
    }
}
