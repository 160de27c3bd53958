//! Uploads of audio files: limits of number, size and time.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;

use super::access::LONGEST_FILE;
use super::extract::is_file;
use super::peer::Caller;
use super::problem::Problem;
use super::state::{State, lock};

/// Files, and bytes of their temporary copies.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Load {
    files: usize,
    bytes: u64,
}

/// Of all clients: several of the longest files, few enough for temporary files in memory.
const MOST: Load = Load {
    files: 16,
    bytes: 4 * LONGEST_FILE,
};
/// Of one device of the owner.
const MOST_OF_DEVICE: Load = Load {
    files: 8,
    bytes: 2 * LONGEST_FILE,
};
/// Of all guests together: a quarter of all.
const MOST_OF_GUESTS: Load = Load {
    files: MOST.files / 4,
    bytes: MOST.bytes / 4,
};
/// Of one guest: the page sends a file in two requests at once.
const MOST_OF_GUEST: Load = Load {
    files: MOST_OF_GUESTS.files / 2,
    bytes: MOST_OF_GUESTS.bytes,
};
/// Least average speed of an upload in bytes a second: 256 kbit/s, less than any line on which music can be played.
const LEAST_SPEED: u64 = 32_000;
/// Time before the speed counts.
const GRACE: Duration = Duration::from_secs(10);

/// The deadline of an upload that has these bytes so far.
fn due(begun: Instant, bytes: u64) -> Instant {
    begun + GRACE + Duration::from_millis(bytes * 1000 / LEAST_SPEED)
}

/// The uploads in progress.
#[derive(Debug, Default)]
pub(super) struct Uploads(Mutex<HashMap<Caller, Load>>);

impl Uploads {
    /// Reserves an upload for a caller.
    ///
    /// # Errors
    ///
    /// The caller, all guests, or all clients have reached their limit.
    fn begin(self: &Arc<Self>, caller: Caller) -> Result<UploadPlace, Problem> {
        self.add(caller, Load { files: 1, bytes: 0 })?;
        Ok(UploadPlace {
            uploads: Arc::clone(self),
            caller,
            bytes: 0,
        })
    }

    fn add(&self, caller: Caller, more: Load) -> Result<(), Problem> {
        let mut loads = lock(&self.0);
        let is_guest = caller.is_guest();
        let of_device = if is_guest {
            MOST_OF_GUEST
        } else {
            MOST_OF_DEVICE
        };
        let fits = |most: Load, counts: &dyn Fn(&Caller) -> bool| {
            let taken: Vec<&Load> = loads
                .iter()
                .filter(|(other, _)| counts(other))
                .map(|(_, load)| load)
                .collect();
            taken.iter().map(|load| load.files).sum::<usize>() + more.files <= most.files
                && taken.iter().map(|load| load.bytes).sum::<u64>() + more.bytes <= most.bytes
        };
        let is_free = fits(MOST, &|_| true)
            && fits(of_device, &|other| *other == caller)
            && (!is_guest || fits(MOST_OF_GUESTS, &|other| other.is_guest()));
        if !is_free {
            return Err(Problem::later(
                5,
                "too many files are uploaded at once",
                "try again in a few seconds",
            ));
        }
        let load = loads.entry(caller).or_default();
        load.files += more.files;
        load.bytes += more.bytes;
        Ok(())
    }
}

/// A reserved upload, released on drop.
#[derive(Debug)]
struct UploadPlace {
    uploads: Arc<Uploads>,
    caller: Caller,
    bytes: u64,
}

impl UploadPlace {
    /// Reserves more bytes.
    ///
    /// # Errors
    ///
    /// As [`Uploads::begin`].
    fn grow(&mut self, bytes: u64) -> Result<(), Problem> {
        self.uploads.add(self.caller, Load { files: 0, bytes })?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for UploadPlace {
    fn drop(&mut self) {
        let mut loads = lock(&self.uploads.0);
        if let Some(load) = loads.get_mut(&self.caller) {
            load.files -= 1;
            load.bytes -= self.bytes;
            if load.files == 0 {
                loads.remove(&self.caller);
            }
        }
    }
}

/// A temporary copy of a body, deleted on drop, and its reserved upload.
pub struct Upload {
    copy: tempfile::TempPath,
    _place: UploadPlace,
}

impl Upload {
    /// Its path, valid until it is dropped.
    pub fn path(&self) -> &Path {
        &self.copy
    }
}

/// Writes the body of an uploaded audio file into a temporary file, within the limits of this module.
///
/// - `headers`: of its request
pub async fn received(
    state: &State,
    caller: Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<Upload, Problem> {
    is_file(headers)?;
    let mut place = state.uploads.begin(caller)?;
    let fault = |_| {
        Problem::later(
            30,
            "the file cannot be stored",
            "free some space, then try again",
        )
    };
    let (file, copy) = tempfile::NamedTempFile::new().map_err(fault)?.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    let begun = Instant::now();
    let mut body = body.into_data_stream();
    let mut length = 0;
    loop {
        // The deadline moves with each byte: a large file has more time than a stalled
        // connection.
        let piece = tokio::time::timeout_at(due(begun, length).into(), body.next()).await;
        let late = |_| Problem::bad("a whole file, in time", "one that was too slow");
        let Some(piece) = piece.map_err(late)? else {
            break;
        };
        let piece = piece.map_err(|_| Problem::bad("a whole file", "one that ended early"))?;
        length += piece.len() as u64;
        if length > LONGEST_FILE {
            let expected = format!("a file of at most {} MB", LONGEST_FILE / 1_000_000);
            return Err(Problem::request(
                StatusCode::PAYLOAD_TOO_LARGE,
                expected,
                "a larger one",
            ));
        }
        // Before it is written, since the sum of all uploads is bounded, too.
        place.grow(piece.len() as u64)?;
        file.write_all(&piece).await.map_err(fault)?;
    }
    if length == 0 {
        return Err(Problem::bad("the bytes of an audio file", "an empty body"));
    }
    file.flush().await.map_err(fault)?;
    Ok(Upload {
        copy,
        _place: place,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Rights;
    use crate::peer::Peer;

    fn caller(rights: Rights, last: u8) -> Caller {
        Caller {
            rights,
            network: Peer::Address([192, 0, 2, last].into()),
        }
    }

    #[test]
    fn guests_upload_at_most_a_quarter() {
        let uploads = Arc::new(Uploads::default());
        let begin = |rights, last| uploads.begin(caller(rights, last));
        let mut guests: Vec<UploadPlace> = (0..20)
            .flat_map(|_| (1..=5).filter_map(|last| begin(Rights::Listen, last).ok()))
            .collect();
        assert_eq!(guests.len(), 4);
        assert_eq!(
            guests
                .iter()
                .filter(|place| place.caller == guests[0].caller)
                .count(),
            1
        );
        drop(guests.split_off(2));
        assert!(begin(Rights::Listen, 1).is_ok(), "two of one guest");
        // Their bytes: one longest file for all guests.
        assert!(guests[0].grow(LONGEST_FILE - 1000).is_ok() && guests[1].grow(1000).is_ok());
        assert!(guests[1].grow(1).is_err());
        let mut owners: Vec<UploadPlace> = (0..20)
            .filter_map(|_| begin(Rights::Change, 9).ok())
            .collect();
        assert_eq!(owners.len(), 8, "of a device");
        assert!(owners[0].grow(LONGEST_FILE).is_ok() && owners[1].grow(LONGEST_FILE).is_ok());
        assert!(owners[2].grow(1).is_err());
        owners.extend((0..20).filter_map(|_| begin(Rights::Change, 8).ok()));
        assert_eq!(owners.len(), 14, "of all, with two of guests");
        assert!(begin(Rights::Listen, 3).is_err());
        drop((owners, guests));
        assert!(lock(&uploads.0).is_empty(), "all is given back");
    }

    #[test]
    fn slow_uploads_end_before_they_are_whole() {
        let begun = Instant::now();
        let seconds = |bytes| due(begun, bytes).duration_since(begun).as_secs();
        assert_eq!(
            (seconds(1000), seconds(320_000), seconds(LONGEST_FILE)),
            (10, 20, 6260)
        );
    }
}
