//! The reference node's `tiled_scale`, written down as plainly as it is described (docs/decisions/0010): whole buffers
//! for the sum and for the divisor, a mask for each tile, a division at the end.

use super::net::{Image, Net, Picture};

/// What the reference makes of a picture with tiles of this side and overlap, clamped to 0..1.
pub fn tiled_scale(net: &mut Net, picture: &Picture, tile: usize, overlap: usize) -> Image {
    if picture.width <= tile && picture.height <= tile {
        let out = net.run(picture);
        return Image::cut(&out, out.width, out.height);
    }
    let scale = net.run(&cut(picture, 0, 0, 1, 1)).width;
    let (width, height) = (picture.width * scale, picture.height * scale);
    let mut sums = [
        vec![0.0f32; width * height],
        vec![0.0f32; width * height],
        vec![0.0f32; width * height],
    ];
    let mut divisor = vec![0.0f32; width * height];
    let feather = overlap * scale;
    for y in positions(picture.height, tile, overlap) {
        for x in positions(picture.width, tile, overlap) {
            let (across, down) = (tile.min(picture.width - x), tile.min(picture.height - y));
            let out = net.run(&cut(picture, x, y, across, down));
            let mut mask = vec![1.0f32; out.width * out.height];
            for t in 0..feather {
                let factor = (t + 1) as f32 / feather as f32;
                if feather < out.height {
                    for column in 0..out.width {
                        mask[t * out.width + column] *= factor;
                        mask[(out.height - 1 - t) * out.width + column] *= factor;
                    }
                }
                if feather < out.width {
                    for row in 0..out.height {
                        mask[row * out.width + t] *= factor;
                        mask[row * out.width + out.width - 1 - t] *= factor;
                    }
                }
            }
            for row in 0..out.height {
                for column in 0..out.width {
                    let (from, to) = (
                        row * out.width + column,
                        (y * scale + row) * width + x * scale + column,
                    );
                    for (sum, plane) in sums.iter_mut().zip(&out.planes) {
                        sum[to] += plane[from].clamp(0.0, 1.0) * mask[from];
                    }
                    divisor[to] += mask[from];
                }
            }
        }
    }
    let planes = sums.map(|sum| {
        sum.iter()
            .zip(&divisor)
            .map(|(sum, divisor)| sum / divisor)
            .collect()
    });
    Image::cut(
        &Picture {
            width,
            height,
            planes,
        },
        width,
        height,
    )
}

fn positions(len: usize, tile: usize, overlap: usize) -> Vec<usize> {
    if len <= tile {
        vec![0]
    } else {
        (0..len - overlap).step_by(tile - overlap).collect()
    }
}

fn cut(picture: &Picture, x: usize, y: usize, width: usize, height: usize) -> Picture {
    let planes = picture.planes.each_ref().map(|plane| {
        (y..y + height)
            .flat_map(|row| plane[row * picture.width + x..][..width].to_vec())
            .collect()
    });
    Picture {
        width,
        height,
        planes,
    }
}
