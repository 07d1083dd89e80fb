//! Pictures that promise more than they hold take neither memory nor time.

use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bundle::{ImageSchema, InputError};
use flate2::{Compress, Compression, FlushCompress};
use infer::picture::{Channels, Format, Picture, decode, encode};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MEGABYTE: usize = 1 << 20;

/// Held by each test: the allocator counts for all threads.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs `what`; the most bytes that were allocated at once beyond what there was before.
fn peak<T>(what: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = what();
    (result, ALLOCATOR.peak_usage().saturating_sub(before))
}

fn chunk(file: &mut Vec<u8>, kind: &[u8; 4], body: &[u8]) {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(body);
    file.extend((body.len() as u32).to_be_bytes());
    file.extend(kind);
    file.extend(body);
    file.extend(crc.sum().to_be_bytes());
}

fn png(width: u32, height: u32, extra: &[(&[u8; 4], Vec<u8>)], data: &[u8]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, 2, 0, 0, 0]);
    chunk(&mut file, b"IHDR", &header);
    for (kind, body) in extra {
        chunk(&mut file, kind, body);
    }
    chunk(&mut file, b"IDAT", data);
    chunk(&mut file, b"IEND", b"");
    file
}

/// A zlib stream that inflates to that many megabytes of zeros: one compressed megabyte, repeated.
fn zeros(megabytes: usize) -> Vec<u8> {
    let mut compress = Compress::new(Compression::best(), false);
    let mut block = Vec::with_capacity(MEGABYTE);
    compress.compress_vec(&vec![0; MEGABYTE], &mut block, FlushCompress::Full).unwrap();
    let mut stream = vec![0x78, 0xda];
    stream.extend(block.repeat(megabytes));
    stream
}

fn webp(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut body = b"WEBP".to_vec();
    for (kind, chunk) in chunks {
        body.extend(*kind);
        body.extend((chunk.len() as u32).to_le_bytes());
        body.extend(chunk);
        body.extend(vec![0; chunk.len() % 2]);
    }
    [b"RIFF".to_vec(), (body.len() as u32).to_le_bytes().to_vec(), body].concat()
}

/// A WebP canvas of this size.
fn canvas(width: u32, height: u32, flags: u8) -> (&'static [u8; 4], Vec<u8>) {
    let side = |side: u32| (side - 1).to_le_bytes()[..3].to_vec();
    (b"VP8X", [vec![flags, 0, 0, 0], side(width), side(height)].concat())
}

/// A key frame's header.
fn vp8(width: u16, height: u16, data: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x10, 0x02, 0, 0x9d, 0x01, 0x2a];
    frame.extend(width.to_le_bytes());
    frame.extend(height.to_le_bytes());
    frame.extend(data);
    frame
}

fn noise(width: usize, height: usize) -> Picture {
    let samples = (0..width * height * 3).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    Picture { width, height, channels: Channels::Rgb, samples }
}

/// Sets the sides in a JPEG's frame header.
fn resized(mut jpeg: Vec<u8>, width: u16, height: u16) -> Vec<u8> {
    let frame = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).expect("a baseline JPEG");
    jpeg[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    jpeg[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    jpeg
}

/// The decoder's segments and scans beyond what any picture has.
fn repeated(jpeg: &[u8], segment: &[u8], times: usize) -> Vec<u8> {
    [&jpeg[..2], &segment.repeat(times), &jpeg[2..]].concat()
}

#[test]
fn bombs_are_refused_at_once() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let small = encode(&noise(16, 16), Format::Jpeg { quality: 90 }).unwrap();
    let scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\xff";
    let profile = [b"name\0\0".to_vec(), zeros(2048)].concat();
    let too_many = [&small[..small.len() - 2], &scan.repeat(1_000_000), b"\xff\xd9"].concat();
    let extended_xmp = {
        let mut segment = b"\xff\xe1\x00\x4fhttp://ns.adobe.com/xmp/extension/\0".to_vec();
        segment.extend([b'0'; 32]);
        segment.extend([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1]);
        segment.resize(2 + 0x4f, 0);
        segment
    };
    let frame = |width: u16, height: u16| {
        [[0_u8; 16].to_vec(), b"VP8 ".to_vec(), 26_u32.to_le_bytes().to_vec(), vp8(width, height, &[0; 16])].concat()
    };
    let mut lying = webp(&[canvas(4, 4, 8), (b"EXIF", vec![0; 8])]);
    let length = lying.len();
    lying[length - 12..length - 8].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
    lying[4..8].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
    let bombs: [(&str, Vec<u8>); 12] = [
        ("PNG of 100,000 x 100,000 pixels", png(100_000, 100_000, &[], &zeros(1))),
        ("PNG of 2^31 x 2^31 pixels", png(1 << 31, 1 << 31, &[], &zeros(1))),
        ("PNG with a colour profile of two gigabytes", png(16, 16, &[(b"iCCP", profile)], &[])),
        ("JPEG of 65,535 x 65,535 pixels", resized(small.clone(), 65_535, 65_535)),
        ("JPEG with a million scans", too_many),
        ("JPEG with 500,000 parts of XMP", repeated(&small, &extended_xmp, 500_000)),
        (
            "WebP of 16,777,216 x 16,777,216 pixels",
            webp(&[canvas(1 << 24, 1 << 24, 0), (b"VP8 ", vp8(1, 1, &[0; 64]))]),
        ),
        (
            "WebP whose frame is larger than its canvas",
            webp(&[canvas(4, 4, 0), (b"VP8 ", vp8(16_383, 16_383, &[0; 64]))]),
        ),
        (
            "WebP whose animation's frame is larger",
            webp(&[canvas(4, 4, 2), (b"ANIM", vec![0; 6]), (b"ANMF", frame(16_383, 16_383))]),
        ),
        ("WebP whose lossless frame is larger", webp(&[(b"VP8L", vec![0x2f, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0, 0])])),
        ("WebP with a chunk of four gigabytes", lying),
        ("a gigabyte of nothing", vec![0; 1 << 30]),
    ];
    for (name, bytes) in &bombs {
        let started = Instant::now();
        let (result, memory) = peak(|| decode(bytes, ImageSchema::DEFAULT_MAX_PIXELS));
        let took = started.elapsed();
        match result {
            Err(InputError::Invalid(why) | InputError::TooLarge(why)) => {
                println!("{name}: {why} ({took:.1?}, {memory} bytes)")
            }
            other => panic!("{name}: {other:?}"),
        }
        // Room for a colour profile, and for a copy of what the file has for it.
        let limit = 40 * MEGABYTE;
        assert!(memory < limit, "{name}: {memory} bytes");
        assert!(took < Duration::from_secs(5), "{name}: {took:.1?}");
    }
}

#[test]
fn a_jpeg_that_only_promises_pixels_takes_no_more_than_they_would() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let small = encode(&noise(16, 16), Format::Jpeg { quality: 90 }).unwrap();
    let bytes = resized(small, 8_000, 1_000);
    let started = Instant::now();
    // It has its end marker: libjpeg makes a flat picture of it as well.
    let (result, memory) = peak(|| decode(&bytes, ImageSchema::DEFAULT_MAX_PIXELS).map(|decoded| decoded.fit(64)));
    assert!(result.is_ok_and(|picture| (picture.width, picture.height) == (64, 8)));
    assert!(memory < 4 * 8_000 * 1_000, "{memory} bytes");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn texts_that_inflate_to_gigabytes_are_left_alone() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut data = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
    data.write_all(&vec![0; (16 * 3 + 1) * 16]).unwrap();
    let data = data.finish().unwrap();
    let compressed = [b"Comment\0\0".to_vec(), zeros(2048)].concat();
    let international = [b"XML:com.adobe.xmp\0\x01\0\0\0".to_vec(), zeros(2048)].concat();
    let bytes = png(16, 16, &[(b"zTXt", compressed), (b"iTXt", international)], &data);
    let (picture, memory) = peak(|| decode(&bytes, ImageSchema::DEFAULT_MAX_PIXELS));
    assert_eq!(picture.unwrap().upright().samples, vec![0; 16 * 16 * 3]);
    assert!(memory < 3 * bytes.len() + MEGABYTE, "{memory} bytes of {}", bytes.len());
}

#[test]
fn memory_is_some_bytes_a_pixel() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let picture = noise(2000, 1500);
    let pixels = 2000 * 1500;
    for (format, bytes_a_pixel) in [(Format::Jpeg { quality: 80 }, 4), (Format::Png, 4)] {
        let file = encode(&picture, format).unwrap();
        let (decoded, memory) = peak(|| decode(&file, ImageSchema::DEFAULT_MAX_PIXELS));
        assert!(memory < bytes_a_pixel * pixels, "{format:?}: {} bytes a pixel", memory as f64 / pixels as f64);
        let (small, memory) = peak(|| decoded.unwrap().fit(256));
        assert_eq!((small.width, small.height), (256, 192));
        assert!(memory < pixels, "shrinking takes {} bytes a pixel", memory as f64 / pixels as f64);
    }
}
