//! Pictures of a pixel, each of a colour of its own, as no two files may be the same here.

/// A PNG of one pixel.
pub fn of_colour(rgb: [u8; 3]) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    // One by one, eight bits each of red, green and blue.
    chunk(&mut png, b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0, 0, 0]);
    // A row without a filter, in a block that is stored as it is.
    let row = [0, rgb[0], rgb[1], rgb[2]];
    let mut packed = vec![0x78, 0x01, 0x01, 4, 0, 0xfb, 0xff];
    packed.extend_from_slice(&row);
    packed.extend_from_slice(&adler32(&row).to_be_bytes());
    chunk(&mut png, b"IDAT", &packed);
    chunk(&mut png, b"IEND", &[]);
    png
}

fn chunk(png: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    let length = u32::try_from(data.len()).expect("chunks of a few bytes");
    png.extend_from_slice(&length.to_be_bytes());
    let begin = png.len();
    png.extend_from_slice(kind);
    png.extend_from_slice(data);
    let checksum = crc32(&png[begin..]);
    png.extend_from_slice(&checksum.to_be_bytes());
}

fn crc32(data: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !data.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

fn adler32(data: &[u8]) -> u32 {
    let (low, high) = data.iter().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    high << 16 | low
}
