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
    pub(crate) standing: Standing,
}

/// What a clip had to do with the bounds that it is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Bounds were fitted on it.
    Fitted,
    /// They were not, but on others of its family: of the same camera, or drawn by the same source.
    Related,
    /// No bound was fitted on any of its family.
    Fresh,
}

impl Standing {
    pub(crate) const ALL: [Self; 3] = [Self::Fitted, Self::Related, Self::Fresh];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Fitted => "fitted on",
            Self::Related => "related",
            Self::Fresh => "fresh families",
        }
    }
}

/// The clips of these files, or the suite's own where none is given; made once where there is a folder to keep them in.
pub(crate) fn subjects(given: &[PathBuf], cache: Option<&Path>) -> Vec<Subject> {
    if !given.is_empty() {
        let read = |path: &PathBuf| clips::file(path, 0).expect("clip can be read");
        return given.iter().map(|path| Subject { clip: read(path), standing: Standing::Fresh }).collect();
    }
    let synthetic = Content::ALL.iter().filter_map(|&content| {
        kept(cache, &format!("{content:?}"), || Some(clips::synthetic_at(START, content, 0, 1280, 720)))
    });
    let drawn = |set: &'static [Drawn]| set.iter().filter_map(|one| one.subject(cache));
    let derived = |standing, set: &'static [Derived]| {
        let kept = |one: &Derived| kept(cache, one.name, || one.clip());
        set.iter().filter_map(kept).map(move |clip| Subject { clip, standing })
    };
    synthetic
        .chain(clips::real_set().iter().cloned())
        .map(|clip| Subject { clip, standing: Standing::Fitted })
        .chain(drawn(&DRAWN))
        .chain(derived(Standing::Fitted, &DERIVED))
        .chain(drawn(&LATER_DRAWN))
        .chain(derived(Standing::Related, &LATER_DERIVED))
        .chain(derived(Standing::Fitted, &ADJUSTED))
        .chain(drawn(&LAST_DRAWN))
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

/// What FFmpeg draws.
struct Drawn {
    name: &'static str,
    picture: &'static str,
    /// Settings of the command beside the usual second in 4:2:0.
    settings: &'static [&'static str],
    standing: Standing,
}

impl Drawn {
    const fn new(standing: Standing, name: &'static str, picture: &'static str) -> Self {
        Self { name, picture, settings: &["-pix_fmt", "yuv420p"], standing }
    }

    fn subject(&self, cache: Option<&Path>) -> Option<Subject> {
        let clip = kept(cache, self.name, || Some(clips::generated(self.name, self.picture, self.settings)))?;
        Some(Subject { clip, standing: self.standing })
    }
}

const fn fitted(name: &'static str, picture: &'static str) -> Drawn {
    Drawn::new(Standing::Fitted, name, picture)
}

const fn related(name: &'static str, picture: &'static str) -> Drawn {
    Drawn::new(Standing::Related, name, picture)
}

const fn fresh(name: &'static str, picture: &'static str) -> Drawn {
    Drawn::new(Standing::Fresh, name, picture)
}

/// The contents that bounds were fitted on.
const DRAWN: [Drawn; 13] = [
    fitted(
        "game",
        "mandelbrot=s=1280x720:r=30:start_scale=0.05:end_scale=0.001,drawgrid=w=320:h=180:t=3:c=red,\
         drawbox=x=40:y=600:w=300:h=80:c=blue@0.6:t=fill",
    ),
    fitted("portrait", "mandelbrot=s=720x1280:r=30,format=yuv420p,noise=alls=6:allf=t"),
    fitted(
        "interlaced-looking",
        "testsrc2=s=1280x720:r=60,format=yuv420p,noise=alls=4:allf=t,tinterlace=mode=interleave_top",
    ),
    fitted("carpet", "sierpinski=s=1280x720:r=30:type=carpet,boxblur=2"),
    fitted("flickering-dots", "gradients=s=720x1280:r=30:n=5:speed=0.05,noise=alls=6:allf=t"),
    fitted(
        "smooth",
        "gradients=s=1280x720:r=30:n=3:speed=0.02:seed=7:c0=navy:c1=orange:c2=teal,format=yuv420p",
    ),
    fitted(
        "life",
        "life=s=160x90:r=30:mold=10:random_seed=3:life_color=#c83232:death_color=#3232c8,scale=1280x720:flags=neighbor",
    ),
    fitted(
        "cut",
        "testsrc2=s=1280x720:r=30,format=yuv420p[a];mandelbrot=s=1280x720:r=30,format=yuv420p[b];\
         [a][b]blend=all_expr='if(lt(N,17),A,B)'",
    ),
    fitted("fine-noise", "cellauto=s=320x180:r=30:rule=110:scroll=1:random_seed=5,scale=1280x720,gblur=2"),
    fitted("bars", "smptehdbars=s=1280x720:r=30,format=yuv420p,noise=alls=8:allf=t"),
    fitted("counter", "testsrc=s=1280x720:r=30,format=yuv420p"),
    fitted(
        "spiral",
        "mandelbrot=s=1280x720:r=30:start_x=-0.743:start_y=-0.1318:start_scale=0.02:end_scale=0.002:inner=period,\
         hue=h=80:s=1.4,format=yuv420p",
    ),
    fitted("snow", "color=gray:s=1280x720:r=30,format=yuv420p,noise=alls=70:allf=t"),
];

/// Contents that came later, when the bounds stood.
const LATER_DRAWN: [Drawn; 6] = [
    fresh(
        "waves",
        "nullsrc=s=1280x720:r=30,format=yuv420p,geq=lum='128+60*sin(X/17+N/8)+40*cos(Y/29-N/11)':cb='128+50*sin((X+Y)/90+N/20)':cr='128+40*cos(X/70-N/15)'",
    ),
    related(
        "scrolled-bars",
        "pal75bars=s=1280x720:r=30,format=yuv420p,scroll=horizontal=0.004:vertical=0.002,noise=alls=12:allf=t",
    ),
    related(
        "hues",
        "mandelbrot=s=1280x720:r=30:start_x=-0.745:start_y=0.11:start_scale=0.03:end_scale=0.004,hue=h=4*n,format=yuv420p",
    ),
    related(
        "strobe",
        "testsrc2=s=1280x720:r=30,format=yuv420p,eq=brightness='0.08*sin(n*2)':eval=frame,noise=alls=5:allf=t",
    ),
    related("turning", "testsrc=s=1280x720:r=30,format=yuv420p,rotate=a=n/40:c=teal"),
    fresh(
        "spectrum",
        "colorspectrum=s=1280x720:r=30,format=yuv420p,scroll=horizontal=0.01,noise=alls=3:allf=t",
    ),
];

/// Contents that came last, most of them of families of their own; bounds were moved for two of them.
const LAST_DRAWN: [Drawn; 12] = [
    fresh(
        "ripples",
        "nullsrc=s=1280x720:r=30,format=yuv420p,geq=lum='120+80*sin(hypot(X-500+4*N,Y-300)/9-N/3)':cb='118+30*sin(X/200-N/9)':cr='134+36*cos(Y/150+N/7)'",
    ),
    fitted(
        "tunnel",
        "nullsrc=s=1280x720:r=30,format=yuv420p,geq=lum='if(mod(floor(3000/(1+hypot(X-640,Y-360))+N/5)+floor(8*atan2(Y-360,X-640)/PI+N/15),2),200,45)':cb='100+40*mod(N,30)/30':cr=140",
    ),
    fresh(
        "clouds",
        "nullsrc=s=1280x720:r=30,format=yuv420p,geq=lum='110+34*sin(X/91+N/30+2*sin(Y/130))+22*sin(X/37-Y/53-N/24)+14*sin((X+2*Y)/17+N/12+sin(X/23))+7*sin(X/6.1+Y/7.3)':cb='132+9*sin(X/160+Y/210)':cr='120+8*cos(Y/140-N/40)'",
    ),
    fitted(
        "stars",
        "nullsrc=s=1280x720:r=30,format=yuv420p,geq=lum='22+200*lt(mod(floor((X+3*N)/4)*7919+floor(Y/4)*104729+floor((X+3*N)/4)*floor(Y/4)*31,997),9)':cb=134:cr=124",
    ),
    fresh(
        "spectrogram",
        "aevalsrc='0.5*sin(2*PI*t*(200+900*t))+0.3*sin(2*PI*t*3000*(1+0.3*sin(9*t)))+0.05*random(0)':s=44100,showspectrum=s=1280x720:fps=30:slide=scroll:overlap=0.95:color=fire:scale=log,trim=start=3,setpts=PTS-STARTPTS,format=yuv420p",
    ),
    fresh(
        "oscilloscope",
        "aevalsrc='sin(2*PI*220*t)+0.3*sin(2*PI*1331*t)|sin(2*PI*331*t+sin(7*t))':s=44100,avectorscope=s=1280x720:r=30:zoom=0.7:draw=line,format=yuv420p",
    ),
    fresh(
        "tones",
        "aevalsrc='0.4*sin(2*PI*t*(300+400*t))+0.3*sin(2*PI*t*1200)+0.2*sin(2*PI*t*(5000-2000*t))':s=44100,showcqt=s=1280x720:r=30:axis=0:bar_v=8,format=yuv420p",
    ),
    fresh(
        "colour-cube",
        "haldclutsrc=8:r=30,scale=1280:720:flags=bilinear,setsar=1,scroll=h=0.004:v=0.003,format=yuv420p",
    ),
    fresh("all-colours", "allrgb=r=30,crop=1280:720:900+8*n:1200+5*n,gblur=1.5,format=yuv420p"),
    fresh("red-green-blue", "rgbtestsrc=s=1280x720:r=30,format=yuv420p,rotate=a=n/60,noise=alls=9:allf=t"),
    Drawn {
        settings: &["-t", "5", "-pix_fmt", "yuv420p", "-g", "300", "-sc_threshold", "0"],
        ..related(
            "five-seconds",
            "mandelbrot=s=1280x720:r=30:start_x=-0.16:start_y=1.04:start_scale=0.08:end_scale=0.002,drawgrid=w=160:h=120:t=2:c=white@0.4",
        )
    },
    Drawn {
        settings: &["-pix_fmt", "yuv422p"],
        ..related("chroma-422", "testsrc2=s=1280x720:r=30,hue=h=50:s=0.8,noise=alls=5:allf=t")
    },
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

/// Those that came later, when the bounds stood.
const LATER_DERIVED: [Derived; 4] = [
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
];

/// One that came later as well, until a bound was moved for it.
const ADJUSTED: [Derived; 1] = [Derived {
    name: "screen-inverted",
    file: "bad-duplicate-audio-dts.ts",
    from: "0.5",
    filters: "scale=1280:720,fps=30,negate",
}];

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
