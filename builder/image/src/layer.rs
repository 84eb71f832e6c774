//! A layer: compressed fragments one after the other, then the end of the archive.

use std::io::{self, Read, Write};

use registry_wire::{Descriptor, Digest, Hasher, MediaType};
use serde::{Deserialize, Serialize};

use crate::{END, FragmentIndex, GzipEncoder, gunzip_member, gzip::BLOCK};

/// A finished layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// SHA-256 of the compressed bytes.
    pub digest: Digest,
    /// Length of the compressed bytes.
    pub size: u64,
    /// SHA-256 of the archive (`diffID`).
    pub diff_id: Digest,
    /// Length of the archive.
    pub tar_size: u64,
}

impl Layer {
    /// How a manifest names it.
    pub const fn descriptor(&self) -> Descriptor {
        Descriptor::new(MediaType::LAYER_TAR_GZIP, self.digest, self.size)
    }
}

/// Why a layer cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A fragment is not what it was when it was compressed.
    #[error("a kept fragment is damaged: {0}")]
    Damaged(&'static str),
    /// A fragment cannot be read.
    #[error("cannot read a fragment")]
    Read(#[source] io::Error),
    /// The layer cannot be written.
    #[error("cannot write a layer")]
    Write(#[source] io::Error),
}

/// Puts a layer together. Each fragment is unpacked as it passes, so its checksums are checked and both digests come
/// from one pass.
pub struct LayerWriter<W> {
    out: W,
    compressed: Hasher,
    archive: Hasher,
}

impl<W: Write + Send> LayerWriter<W> {
    /// Writes the compressed layer to `out`.
    pub fn new(out: W) -> Self {
        Self { out, compressed: Hasher::new(), archive: Hasher::new() }
    }

    /// Adds a compressed fragment.
    pub fn fragment(&mut self, index: &FragmentIndex, bytes: &mut dyn Read) -> Result<(), LayerError> {
        let mut check = Hasher::new();
        let mut tar_size = 0;
        for length in &index.members {
            let length = *length as usize;
            // A member is never much longer than its input.
            if length > BLOCK + BLOCK / 8 {
                return Err(LayerError::Damaged("a member is too long"));
            }
            let mut packed = vec![0; length];
            bytes.read_exact(&mut packed).map_err(LayerError::Read)?;
            check.update(&packed);
            tar_size += self.member(&packed)?;
        }
        if check.length() != index.size || check.finish() != index.digest || tar_size != index.tar_size {
            return Err(LayerError::Damaged("its bytes do not hash to what they did"));
        }
        Ok(())
    }

    /// Both digests at once, on two threads where there are two.
    fn member(&mut self, packed: &[u8]) -> Result<u64, LayerError> {
        let Self { out, compressed, archive } = self;
        let (written, unpacked) = rayon::join(
            || {
                compressed.update(packed);
                out.write_all(packed).map_err(LayerError::Write)
            },
            || {
                let unpacked =
                    gunzip_member(packed).map_err(|_| LayerError::Damaged("a member does not unpack"))?;
                archive.update(&unpacked);
                Ok(unpacked.len() as u64)
            },
        );
        written?;
        unpacked
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Result<(W, Layer), LayerError> {
        let mut encoder = GzipEncoder::new(Vec::new());
        encoder.write_all(&END).map_err(LayerError::Write)?;
        let (end, _) = encoder.finish().map_err(LayerError::Write)?;
        self.member(&end)?;
        let tar_size = self.archive.length();
        let size = self.compressed.length();
        let layer =
            Layer { digest: self.compressed.finish(), size, diff_id: self.archive.finish(), tar_size };
        Ok((self.out, layer))
    }
}
