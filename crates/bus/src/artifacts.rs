//! Content-addressed bytes of any size. Up to 512 KiB (compressed) an artifact is one record of the bucket
//! `blobs`; above, an object of the object store `artifacts`. Names are `<kind>.<hash>` or chosen by the caller;
//! a name once given never changes its content.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::object_store::{GetErrorKind, InfoErrorKind, ObjectMetadata, ObjectStore};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use futures::TryStreamExt;
use tokio::io::AsyncReadExt;

use crate::connection::{Bus, BusError, message_id};
use crate::records::Records;

const SMALL: usize = 512 << 10;
/// Largest artifact, decompressed.
const LIMIT: usize = 1 << 30;

/// Subjects of the chunks of objects, before the upload's name (ADR-20 of the server).
const CHUNKS: &str = "$O.artifacts.C.";

/// Longest time to read an artifact.
const LONGEST_READ: Duration = Duration::from_secs(120);

/// The artifacts of a deployment.
#[derive(Clone)]
pub struct Artifacts {
    bus: Bus,
    small: Records,
}

impl Artifacts {
    pub(crate) fn new(bus: Bus) -> Self {
        let small = bus.records("blobs");
        Self { bus, small }
    }

    /// Stores bytes under the name of their content and returns the name.
    pub async fn put(&self, kind: &str, bytes: &[u8]) -> Result<String, BusError> {
        let name = format!("{kind}.{}", message_id(&[bytes]));
        self.put_named(&name, bytes).await?;
        Ok(name)
    }

    /// Stores bytes under a name that stands for their content. An artifact that is there already stays.
    pub async fn put_named(&self, name: &str, bytes: &[u8]) -> Result<(), BusError> {
        let packed = zstd::bulk::compress(bytes, 1).map_err(BusError::other)?;
        if packed.len() <= SMALL {
            if self.small.create(name, &packed).await?.is_some() {
                self.bus.recent().put(name, bytes.len(), Arc::new(Bytes::copy_from_slice(bytes)));
            }
            return Ok(());
        }
        let store = self.objects().await?;
        if there(&store, name).await? {
            return Ok(());
        }
        let metadata = ObjectMetadata { name: name.to_owned(), ..Default::default() };
        store.put(metadata, &mut packed.as_slice()).await.map_err(BusError::other)?;
        Ok(())
    }

    /// The bytes of an artifact, or `None` when it is not there. One that this process stored a moment ago need not be asked for.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>, BusError> {
        if let Some(known) = self.bus.recent().get(name) {
            return Ok(Some(known.as_ref().clone()));
        }
        if let Some(record) = self.small.get(name).await? {
            return unpack(name, &record.value).map(Some);
        }
        let store = self.objects().await?;
        let mut object = match store.get(name).await {
            Ok(object) => object,
            Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(BusError::other(error)),
        };
        let mut packed = Vec::with_capacity(object.info().size.min(LIMIT));
        // A server that goes away in the middle must not hold the reader for ever.
        tokio::time::timeout(LONGEST_READ, object.read_to_end(&mut packed))
            .await
            .map_err(|_| BusError::Other(format!("artifact {name} was not read within {LONGEST_READ:?}")))?
            .map_err(BusError::other)?;
        unpack(name, &packed).map(Some)
    }

    /// Stores a file, of any size, under a name that stands for its content. It is compressed beside the file and never held
    /// in memory.
    pub async fn put_file(&self, name: &str, path: &Path) -> Result<(), BusError> {
        let (from, packed) = (path.to_owned(), path.with_extension("zst"));
        let to = packed.clone();
        let work = move || -> std::io::Result<()> {
            let mut input = std::fs::File::open(from)?;
            let mut output = zstd::stream::write::Encoder::new(std::fs::File::create(to)?, 3)?;
            std::io::copy(&mut input, &mut output)?;
            output.finish()?.sync_all()
        };
        tokio::task::spawn_blocking(work).await.map_err(BusError::other)?.map_err(BusError::other)?;
        let stored = async {
            let mut file = tokio::fs::File::open(&packed).await.map_err(BusError::other)?;
            let metadata = ObjectMetadata { name: name.to_owned(), ..Default::default() };
            self.objects().await?.put(metadata, &mut file).await.map_err(BusError::other)
        }
        .await;
        let _ = tokio::fs::remove_file(&packed).await;
        stored.map(|_| ())
    }

    /// Writes what [`Artifacts::put_file`] stored to `path`; false when it is not there.
    pub async fn get_file(&self, name: &str, path: &Path) -> Result<bool, BusError> {
        let mut object = match self.objects().await?.get(name).await {
            Ok(object) => object,
            Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(BusError::other(error)),
        };
        let (packed, to) = (path.with_extension("zst"), path.to_owned());
        let mut file = tokio::fs::File::create(&packed).await.map_err(BusError::other)?;
        let copied = tokio::io::copy(&mut object, &mut file).await;
        copied.map_err(BusError::other)?;
        file.sync_all().await.map_err(BusError::other)?;
        let from = packed.clone();
        let work = move || -> std::io::Result<()> {
            let mut input = zstd::stream::read::Decoder::new(std::fs::File::open(from)?)?;
            let mut output = std::fs::File::create(to)?;
            std::io::copy(&mut input, &mut output)?;
            output.sync_all()
        };
        tokio::task::spawn_blocking(work).await.map_err(BusError::other)?.map_err(BusError::other)?;
        let _ = tokio::fs::remove_file(&packed).await;
        Ok(true)
    }

    /// True when the artifact is there.
    pub async fn exists(&self, name: &str) -> Result<bool, BusError> {
        if self.small.get(name).await?.is_some() {
            return Ok(true);
        }
        there(&self.objects().await?, name).await
    }

    /// Deletes an artifact; one that is not there is deleted already.
    pub async fn delete(&self, name: &str) -> Result<(), BusError> {
        self.bus.recent().forget(name);
        if self.small.get(name).await?.is_some() {
            return self.small.erase(name).await;
        }
        let store = self.objects().await?;
        if there(&store, name).await? {
            store.delete(name).await.map_err(BusError::other)?;
            // The store keeps a marker, which costs memory as an object does.
            let meta = format!("$O.artifacts.M.{}", URL_SAFE.encode(name));
            let stream = self.bus.context().get_stream_no_info("OBJ_artifacts").await;
            stream.map_err(BusError::other)?.purge().filter(meta).await.map_err(BusError::other)?;
        }
        Ok(())
    }

    /// Names of all artifacts of a kind, for the collector.
    pub async fn list(&self, kind: &str) -> Result<Vec<String>, BusError> {
        let mut names = self.small.keys(kind).await?;
        let store = self.objects().await?;
        let mut list = store.list().await.map_err(BusError::other)?;
        while let Some(object) = list.try_next().await.map_err(BusError::other)? {
            if object.name.strip_prefix(kind).is_some_and(|rest| rest.starts_with('.')) {
                names.push(object.name);
            }
        }
        Ok(names)
    }

    /// Uploads of objects whose chunks are there without a description: their writer was ended in between, or is still
    /// writing.
    pub async fn unfinished(&self) -> Result<Vec<String>, BusError> {
        let stream = self.bus.context().get_stream_no_info("OBJ_artifacts").await.map_err(BusError::other)?;
        let mut subjects = stream.info_with_subjects(format!("{CHUNKS}>")).await.map_err(BusError::other)?;
        let mut uploads = BTreeSet::new();
        while let Some((subject, _)) = subjects.try_next().await.map_err(BusError::other)? {
            uploads.extend(subject.strip_prefix(CHUNKS).map(str::to_owned));
        }
        // Described after the chunks were listed: what was finished meanwhile is found here.
        let mut described = self.objects().await?.list().await.map_err(BusError::other)?;
        while let Some(object) = described.try_next().await.map_err(BusError::other)? {
            uploads.remove(&object.nuid);
        }
        Ok(uploads.into_iter().collect())
    }

    /// Deletes the chunks of an upload that [`Artifacts::unfinished`] named.
    pub async fn discard(&self, upload: &str) -> Result<(), BusError> {
        let stream = self.bus.context().get_stream_no_info("OBJ_artifacts").await.map_err(BusError::other)?;
        stream.purge().filter(format!("{CHUNKS}{upload}")).await.map_err(BusError::other)?;
        Ok(())
    }

    async fn objects(&self) -> Result<ObjectStore, BusError> {
        // Asked for once: it takes a request, and what it answers is a name.
        let made =
            self.bus.objects().get_or_try_init(|| self.bus.context().get_object_store("artifacts")).await;
        made.cloned().map_err(BusError::other)
    }
}

/// True when the store has the object, and not only the marker that it was deleted.
async fn there(store: &ObjectStore, name: &str) -> Result<bool, BusError> {
    match store.info(name).await {
        Ok(info) => Ok(!info.deleted),
        Err(error) if error.kind() == InfoErrorKind::NotFound => Ok(false),
        Err(error) => Err(BusError::other(error)),
    }
}

fn unpack(name: &str, packed: &[u8]) -> Result<Bytes, BusError> {
    let size =
        zstd::zstd_safe::get_frame_content_size(packed).ok().flatten().and_then(|n| usize::try_from(n).ok());
    let bad = |reason: String| BusError::BadArtifact { name: name.to_owned(), reason };
    let size = size.filter(|&n| n <= LIMIT).ok_or_else(|| bad("no size, or larger than 1 GiB".into()))?;
    zstd::bulk::decompress(packed, size).map(Bytes::from).map_err(|error| bad(error.to_string()))
}
