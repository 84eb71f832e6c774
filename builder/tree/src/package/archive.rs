//! The outer archive of a `.deb` (ar(5), common format).

use std::io::{self, Read};

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER: usize = 60;

/// Reads members one after the other.
pub(super) struct Archive<'a> {
    source: &'a mut dyn Read,
    /// Bytes of the current member that are not read yet, its padding included.
    pending: u64,
}

/// One member. What is not read of it is skipped.
pub(super) struct ArchiveMember<'a, 'b> {
    pub(super) name: String,
    archive: &'b mut Archive<'a>,
    left: u64,
}

impl<'a> Archive<'a> {
    pub(super) fn new(source: &'a mut dyn Read) -> Result<Self, String> {
        let mut magic = [0; 8];
        source.read_exact(&mut magic).map_err(|error| error.to_string())?;
        if &magic == MAGIC {
            Ok(Self { source, pending: 0 })
        } else {
            Err("it is not an ar archive".to_owned())
        }
    }

    pub(super) fn next_member(&mut self) -> Result<Option<ArchiveMember<'a, '_>>, String> {
        let skipped = io::copy(&mut (&mut *self.source).take(self.pending), &mut io::sink());
        if skipped.map_err(|error| error.to_string())? != self.pending {
            return Err("it ends within a member".to_owned());
        }
        let mut header = [0; HEADER];
        let mut filled = 0;
        while filled < HEADER {
            match self.source.read(&mut header[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err("it ends within a header".to_owned()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        let text = |range: std::ops::Range<usize>| {
            std::str::from_utf8(&header[range])
                .map(str::trim_end)
                .map_err(|_| "a header is not text".to_owned())
        };
        if &header[58..] != b"`\n" {
            return Err("a header does not end as it should".to_owned());
        }
        let name = text(0..16)?.trim_end_matches('/').to_owned();
        let size = text(48..58)?;
        let size: u64 = Some(size)
            .filter(|size| size.bytes().all(|digit| digit.is_ascii_digit()))
            .and_then(|size| size.parse().ok())
            .ok_or_else(|| format!("member {} has no size", name.escape_default()))?;
        self.pending = size + (size & 1);
        Ok(Some(ArchiveMember { name, archive: self, left: size }))
    }
}

impl ArchiveMember<'_, '_> {
    /// Its length.
    pub(super) const fn size(&self) -> u64 {
        self.left
    }

    pub(super) fn data(&mut self) -> impl Read {
        Data(self)
    }
}

struct Data<'m, 'a, 'b>(&'m mut ArchiveMember<'a, 'b>);

impl Read for Data<'_, '_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.0.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.0.archive.source.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends within a member"));
        }
        self.0.left -= count as u64;
        self.0.archive.pending -= count as u64;
        Ok(count)
    }
}
