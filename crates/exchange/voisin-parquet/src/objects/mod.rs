//! Music and Parquet files in object stores and on web servers, named by addresses: `s3://bucket/key`, `gs://bucket/key`,
//! `az://container/key`, `http(s)://host/path`.
//!
//! Objects are fetched into temporary files, and sent whole. Credentials come from the environment
//! variables of the stores' own tools.

mod transport;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Error, ErrorKind, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};

use futures_util::TryStreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path as Key;
use object_store::{ClientConfigKey, ObjectMeta, ObjectStore, ObjectStoreExt as _, RetryConfig};
use tokio::runtime::{Builder, Runtime};
use voisin_base::atomic_file::{AtomicFile, remove_abandoned};
use voisin_base::system_folders::system_folder;
use voisin_base::{address, regular_file};
use voisin_library::FileRecord;
use voisin_library::scan::{MARKERS, Scan, ScanProblem, SystemFolder};

use transport::{SILENCE, Transport};

/// Attempts at a request without a response or with an incomplete one.
const ATTEMPTS: usize = 3;
/// Larger objects are sent in parts of at least this size, in bytes; a store takes 10 000 parts an object.
const PART: u64 = 5 << 20;
const MOST_PARTS: u64 = 9_000;
/// The largest object for a web server, which accepts no parts, in bytes.
const MOST_AT_ONCE: u64 = 256 << 20;

/// An object: its store and its name.
struct Object {
    store: Arc<dyn ObjectStore>,
    /// `s3://bucket`.
    root: String,
    key: Key,
}

impl Object {
    fn of(address: &Path) -> io::Result<Self> {
        let wrong = |what: &str| Error::new(ErrorKind::InvalidInput, what.to_owned());
        let (scheme, rest) = address
            .to_str()
            .and_then(|text| text.split_once("://"))
            .ok_or_else(|| wrong("expected an address such as s3://bucket/folder/"))?;
        let (host, name) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() {
            return Err(wrong(
                "expected the name of a bucket, a container or a server after ://, found none",
            ));
        }
        let is_web = scheme.starts_with("http");
        // The path is stored in the library, and a password would be stored with it.
        if is_web && rest.contains(['@', '?', '#']) {
            return Err(wrong("expected an address without a password, ? and #"));
        }
        // On the web `%20` is a space; in a bucket it is three characters of the name.
        let key = if is_web {
            Key::from_url_path(name)
        } else {
            Key::parse(name)
        };
        let key =
            key.map_err(|error| wrong(&format!("no store has an object of this name: {error}")))?;
        let root = format!("{scheme}://{host}");
        Ok(Self {
            store: store(scheme, host, &root)?,
            root,
            key,
        })
    }

    fn record(&self, found: &ObjectMeta) -> FileRecord {
        let mtime_ns = found
            .last_modified
            .timestamp_nanos_opt()
            .unwrap_or_default();
        let path = PathBuf::from(format!("{}/{}", self.root, found.location));
        FileRecord {
            path,
            size: found.size,
            mtime_ns,
            changed_at: 0,
        }
    }

    /// The object of exactly this name.
    fn head(&self) -> io::Result<ObjectMeta> {
        wait_for(self.store.head(&self.key))
    }

    /// All objects below this name taken as a folder, in the order of their names.
    fn below(&self) -> io::Result<Vec<ObjectMeta>> {
        let mut all: Vec<ObjectMeta> = wait_for(self.store.list(Some(&self.key)).try_collect())?;
        all.sort_by(|a, b| a.location.cmp(&b.location));
        Ok(all)
    }
}

fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    // Not `get_or_init`, which cannot return the error of `build`. If two threads get here at once, one runtime is discarded.
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made = Builder::new_multi_thread()
        // Callers block on requests in their threads; the worker only drives connections.
        .worker_threads(1)
        .enable_all()
        .build()?;
    Ok(RUNTIME.get_or_init(|| made))
}

fn wait_for<T>(request: impl Future<Output = object_store::Result<T>>) -> io::Result<T> {
    runtime()?
        .block_on(request)
        .map_err(|error| shorten_error(&error))
}

/// Connections to a bucket, cached.
fn store(scheme: &str, host: &str, root: &str) -> io::Result<Arc<dyn ObjectStore>> {
    static STORES: Mutex<BTreeMap<String, Arc<dyn ObjectStore>>> = Mutex::new(BTreeMap::new());
    // A panic cannot leave the map half changed: a poisoned lock is used as it is.
    let mut stores = STORES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(store) = stores.get(root) {
        return Ok(Arc::clone(store));
    }
    let retry = RetryConfig {
        max_retries: ATTEMPTS - 1,
        retry_timeout: SILENCE * ATTEMPTS as u32,
        ..RetryConfig::default()
    };
    macro_rules! store {
        ($builder:expr) => {
            Arc::new(
                $builder
                    .with_retry(retry)
                    .with_http_connector(Transport)
                    .build()
                    .map_err(|error| shorten_error(&error))?,
            )
        };
    }
    let made: Arc<dyn ObjectStore> = match scheme {
        "s3" => store!(AmazonS3Builder::from_env().with_bucket_name(host)),
        "gs" => store!(GoogleCloudStorageBuilder::from_env().with_bucket_name(host)),
        "az" => store!(MicrosoftAzureBuilder::from_env().with_container_name(host)),
        "http" | "https" => store!(
            HttpBuilder::new()
                .with_url(root)
                // `http` in an address permits it; buckets need `AWS_ALLOW_HTTP=true`.
                .with_config(ClientConfigKey::AllowHttp, (scheme == "http").to_string())
        ),
        _ => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("expected one of {}", address::SCHEMES.join(", ")),
            ));
        }
    };
    stores.insert(root.to_owned(), Arc::clone(&made));
    Ok(made)
}

/// A store's error in one line, without addresses: they may hold signatures.
fn shorten_error(error: &object_store::Error) -> Error {
    // The outer errors quote the request with its address; only the innermost one is shown.
    let mut innermost: &(dyn std::error::Error + 'static) = error;
    let mut kind = None;
    while let Some(source) = innermost.source() {
        innermost = source;
        kind = kind.or_else(|| innermost.downcast_ref::<HttpError>().map(HttpError::kind));
    }
    let message = innermost.to_string();
    let has_any = |words: &[&str]| words.iter().any(|word| message.contains(word));
    match error {
        // First, because stores answer 404 for a missing bucket as well as for a missing object.
        _ if has_any(&["NoSuchBucket", "ContainerNotFound", "bucket does not exist"]) => {
            Error::new(
                ErrorKind::NotFound,
                "there is no such bucket: create it, or correct its name",
            )
        }
        object_store::Error::NotFound { .. } => {
            Error::new(ErrorKind::NotFound, "there is no such object")
        }
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => Error::new(
            ErrorKind::PermissionDenied,
            "the store denies access: docs/parquet.md lists the variables with credentials",
        ),
        _ if has_any(&["unsupported scheme http"]) => Error::new(
            ErrorKind::InvalidInput,
            "the server has no encryption: AWS_ALLOW_HTTP=true (GOOGLE_, AZURE_) permits that",
        ),
        _ if kind == Some(HttpErrorKind::Timeout) => Error::new(
            ErrorKind::TimedOut,
            format!(
                "the server was silent for {} s: try again later",
                SILENCE.as_secs()
            ),
        ),
        _ if kind == Some(HttpErrorKind::Connect) => Error::new(
            ErrorKind::NotConnected,
            format!(
                "no connection to the server ({message}): is it running, and is this its address?"
            ),
        ),
        _ => {
            // Answers are XML or HTML on many lines, of any length.
            let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
            let message = message.replace(
                "Server returned non-2xx status code: ",
                "the server answered ",
            );
            Error::other(
                message
                    .trim_end_matches(':')
                    .chars()
                    .take(300)
                    .collect::<String>(),
            )
        }
    }
}

/// Fetches an object into a temporary file, which is deleted when it is dropped.
pub fn fetch(address: &Path) -> io::Result<AtomicFile> {
    let object = Object::of(address)?;
    let mut file = AtomicFile::create(&temporary(address))?;
    runtime()?.block_on(async {
        let answer = object
            .store
            .get(&object.key)
            .await
            .map_err(|error| shorten_error(&error))?;
        // Compared with the announced length: a truncated file would be analysed as a shorter track.
        let expected = answer.meta.size;
        let mut found = 0;
        let mut chunks = answer.into_stream();
        let cut_off = |found: u64, why: String| {
            let message = format!("expected {expected} bytes, found {found}{why}: try again later");
            Error::new(ErrorKind::UnexpectedEof, message)
        };
        loop {
            match chunks.try_next().await {
                Ok(Some(chunk)) => {
                    file.file().write_all(&chunk)?;
                    found += chunk.len() as u64;
                }
                Ok(None) if found == expected => return Ok(()),
                Ok(None) => return Err(cut_off(found, String::new())),
                Err(error) => return Err(cut_off(found, format!(" ({})", shorten_error(&error)))),
            }
        }
    })?;
    file.file().rewind()?;
    Ok(file)
}

/// The path next to which an object's temporary file is created.
pub(super) fn temporary(address: &Path) -> PathBuf {
    static CLEANED: Once = Once::new();
    let place = std::env::temp_dir()
        .join("object")
        .with_extension(address.extension().unwrap_or_default());
    // Killed processes leave files.
    CLEANED.call_once(|| remove_abandoned(&place));
    place
}

/// Opens a regular file, or a copy of an object, which is deleted with the second value.
pub(super) fn open(path: &Path) -> io::Result<(File, Option<AtomicFile>)> {
    if !is_address(path) {
        return Ok((regular_file::open(path)?, None));
    }
    let mut copy = fetch(path)?;
    Ok((copy.file().try_clone()?, Some(copy)))
}

/// Sends a whole file. The object changes only once all of it has been sent.
pub(super) fn send(file: &mut File, address: &Path) -> io::Result<()> {
    let object = Object::of(address)?;
    let size = file.seek(io::SeekFrom::End(0))?;
    file.rewind()?;
    let mut part = |most: u64| {
        let mut bytes = Vec::new();
        (&mut *file).take(most).read_to_end(&mut bytes)?;
        Ok::<_, Error>(bytes)
    };
    let is_web = object.root.starts_with("http");
    if is_web && size > MOST_AT_ONCE {
        let most = MOST_AT_ONCE >> 20;
        let found = size.div_ceil(1 << 20);
        let message = format!("expected at most {most} MB for a web server, found {found} MB");
        return Err(Error::new(ErrorKind::FileTooLarge, message));
    }
    if is_web || size <= PART {
        let bytes = part(size)?;
        return wait_for(object.store.put(&object.key, bytes.into())).map(drop);
    }
    // Larger parts if parts of the minimum size would be too many.
    let most = PART.max(size.div_ceil(MOST_PARTS));
    runtime()?.block_on(async {
        let mut upload = object
            .store
            .put_multipart(&object.key)
            .await
            .map_err(|error| shorten_error(&error))?;
        let sent = async {
            loop {
                let bytes = part(most)?;
                if bytes.is_empty() {
                    return upload
                        .complete()
                        .await
                        .map_err(|error| shorten_error(&error))
                        .map(drop);
                }
                upload
                    .put_part(bytes.into())
                    .await
                    .map_err(|error| shorten_error(&error))?;
            }
        }
        .await;
        if sent.is_err() {
            // Otherwise the parts that were sent stay in the store.
            let _ = upload.abort().await;
        }
        sent
    })
}

/// Checks that objects can be written below an address, as far as that is possible without writing one.
pub(super) fn check_folder(address: &Path) -> io::Result<()> {
    let object = Object::of(address)?;
    if object.root.starts_with("http") {
        return Ok(());
    }
    // Requests the first page of a list, so that a wrong bucket or denied access is reported before hours of analysis.
    wait_for(async { object.store.list(Some(&object.key)).try_next().await }).map(drop)
}

/// The objects directly below an address with this ending, or the one that it names; none on a web server, which has no lists.
pub(super) fn files(address: &Path, ending: &str) -> io::Result<Vec<PathBuf>> {
    let object = Object::of(address)?;
    let has_ending = |key: &Key| {
        key.filename()
            .is_some_and(|name| !name.starts_with('.') && name.ends_with(ending))
    };
    if has_ending(&object.key) {
        return Ok(vec![address.to_owned()]);
    }
    if object.root.starts_with("http") {
        return Ok(Vec::new());
    }
    let depth = object.key.parts_count() + 1;
    let mut found = object.below()?;
    // A list is of all levels; these are the objects of the folder itself.
    found.retain(|found| found.location.parts_count() == depth && has_ending(&found.location));
    Ok(found
        .iter()
        .map(|found| object.record(found).path)
        .collect())
}

/// Size and time of an object, as those of a file.
pub fn object_record(address: &Path) -> io::Result<FileRecord> {
    let object = Object::of(address)?;
    Ok(object.record(&object.head()?))
}

/// Finds the music at an address, as [`voisin_library::scan`] does: an object of this name, or all
/// audio files below it, sorted by name. Names that begin with a dot are skipped, as are folders
/// with a `.nomedia` or `.notmusic`. Playlists are not read.
pub fn scan_objects(address: &Path, is_audio: &dyn Fn(&Path) -> bool, scan: &mut Scan) {
    if let Err(error) = try_scan(address, is_audio, scan) {
        scan.problems.push(ScanProblem {
            path: address.to_owned(),
            reason: error.to_string(),
        });
    }
}

fn try_scan(address: &Path, is_audio: &dyn Fn(&Path) -> bool, scan: &mut Scan) -> io::Result<()> {
    let object = Object::of(address)?;
    let is_folder = address.as_os_str().as_encoded_bytes().ends_with(b"/") || object.key.is_root();
    let is_web = object.root.starts_with("http");
    if is_folder && is_web {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "expected the address of a file: web servers have no lists",
        ));
    }
    if !is_folder {
        match object.head() {
            Ok(found) => {
                // The address is stored as the user wrote it, since one on the web has several spellings.
                let record = object.record(&found);
                let path = if is_web {
                    address.to_owned()
                } else {
                    record.path
                };
                scan.files.push(FileRecord { path, ..record });
                return Ok(());
            }
            // No object of this name: it may be a folder, written without its slash.
            Err(error) if error.kind() == ErrorKind::NotFound && !is_web => {}
            Err(error) => return Err(error),
        }
    }
    let all = object.below()?;
    if all.is_empty() {
        return Err(Error::new(
            ErrorKind::NotFound,
            "there is no such object, and none below it",
        ));
    }
    let folder = |key: &Key| key.parent().unwrap_or_default();
    let is_marker = |key: &Key| key.filename().is_some_and(|name| MARKERS.contains(&name));
    let marked: BTreeSet<Key> = all
        .iter()
        .map(|found| &found.location)
        .filter(|key| is_marker(key))
        .map(folder)
        .collect();
    let depth = object.key.parts_count();
    let place = format!("{}/{}", object.root, object.key);
    let mut of_system: BTreeMap<PathBuf, u64> = BTreeMap::new();
    for found in &all {
        let key = &found.location;
        let record = object.record(found);
        // Only the names below the address count: `s3://music/.new/` includes its contents.
        let is_hidden = key
            .parts()
            .skip(depth)
            .any(|part| part.as_ref().starts_with('.'));
        // Buckets are often copies of disks.
        let below: PathBuf = key
            .parts()
            .skip(depth)
            .map(|part| part.as_ref().to_owned())
            .collect();
        if let Some(folder) = system_folder(&below).filter(|_| is_audio(&record.path)) {
            // The key of a bucket's root is empty.
            let address = format!("{}/{}", place.trim_end_matches('/'), folder.display());
            *of_system.entry(PathBuf::from(address)).or_default() += 1;
            continue;
        }
        let is_marked = || {
            // A marker hides its folder and all below it, up to the root of the bucket.
            std::iter::successors(key.parent(), Key::parent).any(|above| marked.contains(&above))
        };
        if is_audio(&record.path) && !is_hidden && !is_marked() {
            scan.files.push(record);
        }
    }
    scan.skipped_folders.extend(
        marked
            .iter()
            .map(|key| PathBuf::from(format!("{}/{key}", object.root))),
    );
    let of_system = of_system.into_iter();
    scan.of_system
        .extend(of_system.map(|(folder, files)| SystemFolder {
            folder,
            files,
            is_more: false,
        }));
    scan.roots.push(PathBuf::from(place));
    Ok(())
}

/// Whether a path is an address and not a file of this machine.
pub(super) fn is_address(path: &Path) -> bool {
    address::scheme(path).is_some()
}
