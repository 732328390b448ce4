//! A push client that does what `docker push` does, in the same order, without a daemon.

use super::RegistryError;
use crate::image::{Blob, BuiltImage};

/// Pushes to a registry that takes Basic credentials or none.
#[derive(Debug, Clone)]
pub struct Pusher {
    base: String,
    credentials: Option<(String, String)>,
    http: reqwest::Client,
}

impl Pusher {
    /// `base` as `http://127.0.0.1:5000`; credentials are sent with each request.
    pub fn new(base: impl Into<String>, credentials: Option<(&str, &str)>) -> Result<Self, RegistryError> {
        Ok(Self {
            base: base.into().trim_end_matches('/').to_owned(),
            credentials: credentials.map(|(user, password)| (user.to_owned(), password.to_owned())),
            http: reqwest::Client::builder().no_proxy().build()?,
        })
    }

    /// Layers and configurations that the registry lacks, then manifests, then the tag.
    pub async fn image(&self, repository: &str, tag: &str, image: &BuiltImage) -> Result<(), RegistryError> {
        for part in image.children().iter().chain([image]) {
            for layer in part.layers() {
                let blob = Blob {
                    media_type: layer.media_type.clone(),
                    digest: layer.digest.clone(),
                    bytes: layer.bytes.clone(),
                };
                self.blob(repository, &blob).await?;
            }
            if let Some(config) = part.config() {
                self.blob(repository, config).await?;
            }
        }
        for child in image.children() {
            self.manifest(repository, child.digest(), child.root()).await?;
        }
        self.manifest(repository, tag, image.root()).await
    }

    /// One blob, unless the repository has it; says whether it was sent.
    pub async fn blob(&self, repository: &str, blob: &Blob) -> Result<bool, RegistryError> {
        let url = format!("{}/v2/{repository}/blobs/{}", self.base, blob.digest);
        let known = self.send(self.http.head(&url)).await?;
        if known.status().is_success() {
            return Ok(false);
        }
        let uploads = format!("{}/v2/{repository}/blobs/uploads/", self.base);
        let started = self.send(self.http.post(&uploads).header("Content-Length", "0")).await?;
        let started = accepted("start an upload", started).await?;
        let location = started.headers().get("location").and_then(|value| value.to_str().ok());
        let location = location.and_then(|location| started.url().join(location).ok());
        let Some(mut location) = location else {
            return Err(RegistryError::Refused {
                act: "start an upload".to_owned(),
                status: started.status().as_u16(),
                body: "no Location".to_owned(),
            });
        };
        location.query_pairs_mut().append_pair("digest", &blob.digest);
        let request = self
            .http
            .put(location)
            .header("Content-Type", "application/octet-stream")
            .body(blob.bytes.clone());
        let sent = self.send(request).await?;
        accepted("finish an upload", sent).await?;
        Ok(true)
    }

    /// A manifest or an index under a tag or its digest.
    pub async fn manifest(
        &self,
        repository: &str,
        reference: &str,
        manifest: &Blob,
    ) -> Result<(), RegistryError> {
        let url = format!("{}/v2/{repository}/manifests/{reference}", self.base);
        let request =
            self.http.put(url).header("Content-Type", &manifest.media_type).body(manifest.bytes.clone());
        let sent = self.send(request).await?;
        accepted("put a manifest", sent).await.map(drop)
    }

    /// Deletes a manifest by digest.
    pub async fn delete(&self, repository: &str, digest: &str) -> Result<(), RegistryError> {
        let url = format!("{}/v2/{repository}/manifests/{digest}", self.base);
        let sent = self.send(self.http.delete(url)).await?;
        accepted("delete a manifest", sent).await.map(drop)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, RegistryError> {
        let request = match &self.credentials {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        };
        Ok(request.send().await?)
    }
}

async fn accepted(act: &str, answer: reqwest::Response) -> Result<reqwest::Response, RegistryError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let body = answer.text().await?.chars().take(500).collect();
    Err(RegistryError::Refused { act: act.to_owned(), status: status.as_u16(), body })
}
