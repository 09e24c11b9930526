//! A picture in memory that text and pictures are put on.

use std::convert::Infallible;
use std::io::Write;

use embedded_graphics::{
    mono_font::{MonoTextStyle, ascii::FONT_6X10},
    pixelcolor::Rgb888,
    prelude::*,
    text::{Baseline, Text},
};

/// Width of a letter in pixels.
pub(super) const LETTER: usize = 6;

/// From the top of one line of text to the next.
pub(super) const LINE: usize = 12;

/// One pixel: red, green, blue.
pub(super) type Rgb = [u8; 3];

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: usize,
    pub(super) height: usize,
}

/// Pixels of one colour until they are drawn on.
pub(super) struct Canvas {
    size: Size,
    pixels: Vec<Rgb>,
}

impl Canvas {
    pub(super) fn new(size: Size, ground: Rgb) -> Self {
        Self { size, pixels: vec![ground; size.width * size.height] }
    }

    #[cfg(test)]
    pub(super) fn pixel(&self, x: usize, y: usize) -> Rgb {
        self.pixels[y * self.size.width + x]
    }

    /// Puts a picture with its upper left corner at `x`, `y`. All of it must lie on the canvas.
    pub(super) fn put(&mut self, (x, y): (usize, usize), width: usize, picture: &[Rgb]) {
        for (row, pixels) in picture.chunks_exact(width).enumerate() {
            let at = (y + row) * self.size.width + x;
            self.pixels[at..at + width].copy_from_slice(pixels);
        }
    }

    /// Writes one line with its upper left corner at `x`, `y`; what does not lie on the canvas is left out.
    pub(super) fn write(&mut self, (x, y): (usize, usize), text: &str, [r, g, b]: Rgb) {
        let style = MonoTextStyle::new(&FONT_6X10, Rgb888::new(r, g, b));
        // A canvas is a few thousand pixels wide.
        let at = Point::new(x as i32, y as i32);
        let Ok(_) = Text::with_baseline(text, at, style, Baseline::Top).draw(self);
    }

    /// Writes the canvas as PNG, with a text for whoever reads it by machine.
    ///
    /// # Errors
    /// When `to` cannot be written to.
    pub(super) fn write_png(&self, to: impl Write, comment: &str) -> Result<(), png::EncodingError> {
        // A canvas is a few thousand pixels wide and high.
        let mut encoder = png::Encoder::new(to, self.size.width as u32, self.size.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.add_text_chunk("Software".into(), concat!("framemill ", env!("CARGO_PKG_VERSION")).into())?;
        encoder.add_text_chunk("Comment".into(), comment.into())?;
        let mut writer = encoder.write_header()?;
        writer.write_image_data(self.pixels.as_flattened())?;
        writer.finish()
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> embedded_graphics::geometry::Size {
        embedded_graphics::geometry::Size::new(self.size.width as u32, self.size.height as u32)
    }
}

impl DrawTarget for Canvas {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(at, color) in pixels {
            let (Ok(x), Ok(y)) = (usize::try_from(at.x), usize::try_from(at.y)) else { continue };
            if x < self.size.width && y < self.size.height {
                self.pixels[y * self.size.width + x] = [color.r(), color.g(), color.b()];
            }
        }
        Ok(())
    }
}
