//! Reading an image's frames, each under a limit.

use std::io::Read;

use dt_model::codec;

use super::{Frame, IMAGE, ImportError, MAX_FRAME_BYTES};

/// The frames of an image, one after the other.
pub(super) struct Frames<R>(R);

impl<R: Read> Frames<R> {
    /// Reads what an image begins with.
    pub(super) fn begin(mut from: R) -> Result<Self, ImportError> {
        let expected = IMAGE.prefix();
        let mut prefix = vec![0; expected.len()];
        from.read_exact(&mut prefix)?;
        if prefix == expected { Ok(Self(from)) } else { Err(ImportError::NoImage) }
    }

    pub(super) fn next(&mut self) -> Result<Frame, ImportError> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let size = u32::from_le_bytes(length);
        let limit = usize::try_from(size).unwrap_or(usize::MAX);
        if limit > MAX_FRAME_BYTES {
            return Err(ImportError::FrameTooLarge { size: limit });
        }
        // Grows with what comes, not with what the length claims.
        let mut bytes = Vec::new();
        self.0.by_ref().take(size.into()).read_to_end(&mut bytes)?;
        if bytes.len() < limit {
            return Err(ImportError::Length);
        }
        Ok(codec::decode(&bytes, MAX_FRAME_BYTES)?)
    }

    /// Nothing comes any more.
    pub(super) fn end(&mut self) -> Result<(), ImportError> {
        let mut more = Vec::new();
        self.0.by_ref().take(1).read_to_end(&mut more)?;
        if more.is_empty() { Ok(()) } else { Err(ImportError::Length) }
    }
}
