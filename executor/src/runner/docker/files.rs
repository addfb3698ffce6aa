//! The files that are placed in a container before its start.

use std::io;

use bollard::body_full;
use bollard::query_parameters::UploadToContainerOptionsBuilder;

use super::engine::Engine;
use crate::runner::StartError;
use crate::runner::file::PlacedFile;

/// Places `files` in a container that has not been started.
pub(super) async fn place(
    engine: &Engine,
    container: &str,
    files: Vec<PlacedFile>,
) -> Result<(), StartError> {
    if files.is_empty() {
        return Ok(());
    }
    let placing = super::step("place");
    let archive = archive(&files)
        .map_err(|error| StartError::Failed { step: "place config", why: error.to_string() })?;
    let options = UploadToContainerOptionsBuilder::default().path("/").build();
    engine
        .call("upload_to_container", async |client| {
            client.upload_to_container(container, Some(options), body_full(archive.into())).await
        })
        .await
        .map_err(|error| error.at_start("place config"))?;
    placing.done();
    Ok(())
}

/// The files as the engine takes them: readable by whatever user the container runs as.
fn archive(files: &[PlacedFile]) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for PlacedFile { path, content } in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder
            .append_data(&mut header, path.trim_start_matches('/'), content.as_slice())
            .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
    }
    builder.into_inner()
}
