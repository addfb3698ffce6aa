//! The image that tests run containers of. No registry can be reached and no image may be expected, so it
//! is made here: one static program, compiled from `tests/image/service.c` and imported through the
//! engine's own API.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, bail, ensure};
use bollard::Docker;
use bollard::models::ContainerSummary;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptionsBuilder,
};
use futures::StreamExt;
use uuid::Uuid;

/// How often the removal of an image is tried, each time after that of its containers.
const REMOVALS: u32 = 5;

/// The engine for a test that needs one. Where none answers the test is skipped, which is said, unless
/// `MUSTER_REQUIRE_DOCKER=1` says that it must not be: then the test fails.
pub async fn engine_or_skip(test: &str) -> Option<Docker> {
    let why = match Docker::connect_with_defaults() {
        Ok(engine) => match engine.ping().await {
            Ok(_) => return Some(engine),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    };
    assert!(
        std::env::var("MUSTER_REQUIRE_DOCKER").as_deref() != Ok("1"),
        "{test} needs a Docker engine, which MUSTER_REQUIRE_DOCKER=1 promises: {why}"
    );
    eprintln!("SKIPPED {test}: it needs a Docker engine, and none answers ({why})");
    None
}

/// An image of the test program, with a name that nobody else uses. When it is dropped, it is removed
/// with every container made of it.
pub struct TestImage {
    reference: String,
}

impl TestImage {
    /// Compiles the program, once in a process, and imports it.
    pub async fn import(engine: &Docker) -> anyhow::Result<Self> {
        Ok(Self { reference: import_into(engine).await? })
    }

    /// Its name and tag, for a spec's `executable.url`.
    #[must_use]
    pub fn reference(&self) -> &str {
        &self.reference
    }
}

/// The image of the test program in any engine, by its name and tag. It is the engine's from then on: for
/// engines that end with their test.
pub async fn import_into(engine: &Docker) -> anyhow::Result<String> {
    let layer = layer()?;
    let repository = format!("muster-test-{}", Uuid::new_v4().simple());
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo(&repository)
        .tag("1")
        .changes(vec![r#"ENTRYPOINT ["/service"]"#.to_owned()])
        .build();
    let body = bollard::body_full(layer.into());
    let mut steps = engine.create_image(Some(options), Some(body), None);
    while let Some(step) = steps.next().await {
        step.context("import the test image")?;
    }
    Ok(format!("{repository}:1"))
}

impl Drop for TestImage {
    fn drop(&mut self) {
        let reference = self.reference.clone();
        // A thread with a runtime of its own: a drop cannot wait, and may be part of a panic.
        let removal = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(remove_with_containers(&reference))
        });
        match removal.join() {
            Ok(Ok(())) => {}
            failed => tracing::error!(?failed, image = %self.reference, "the test image is left behind"),
        }
    }
}

async fn remove_with_containers(reference: &str) -> anyhow::Result<()> {
    let engine = Docker::connect_with_defaults()?;
    let image = engine.inspect_image(reference).await?.id.context("the engine tells no id of the image")?;
    for attempt in 1.. {
        remove_containers(&engine, &image).await?;
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        match engine.remove_image(reference, Some(options), None).await {
            Ok(_) => break,
            // Who was ended in the middle of his work may have started another one meanwhile.
            Err(error) if attempt == REMOVALS => return Err(error.into()),
            Err(_) => {}
        }
    }
    // Or created one. Of an image that is gone none is made.
    remove_containers(&engine, &image).await
}

async fn remove_containers(engine: &Docker, image: &str) -> anyhow::Result<()> {
    let all = ListContainersOptionsBuilder::default().all(true).build();
    // Chosen here: the engine does not find those of an image that it does not have any more.
    let made_of_it = |container: &ContainerSummary| container.image_id.as_deref() == Some(image);
    for container in engine.list_containers(Some(all)).await?.into_iter().filter(made_of_it) {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        // Another may be removing it at this moment.
        let _ = engine.remove_container(&container.id.unwrap_or_default(), Some(options)).await;
    }
    Ok(())
}

/// The image's only layer: the program, as `/service`, and a mark. An engine does not fetch a layer that it has, also
/// when it is another test's.
pub(crate) fn layer() -> anyhow::Result<Vec<u8>> {
    let program = program()?;
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    archive.append_data(&mut header, "service", program.as_slice())?;
    let mark = Uuid::new_v4().to_string();
    header.set_size(mark.len() as u64);
    archive.append_data(&mut header, "mark", mark.as_bytes())?;
    Ok(archive.into_inner()?)
}

fn program() -> anyhow::Result<&'static Vec<u8>> {
    static PROGRAM: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
    match PROGRAM.get_or_init(|| compile().map_err(|error| format!("{error:#}"))) {
        Ok(program) => Ok(program),
        Err(why) => bail!("the test image's program cannot be compiled: {why}"),
    }
}

/// With the C compiler that Rust itself links with.
fn compile() -> anyhow::Result<Vec<u8>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("image/service.c");
    let dir = tempfile::tempdir()?;
    let program = dir.path().join("service");
    let compiled = Command::new("cc")
        .args(["-static", "-O1", "-o"])
        .arg(&program)
        .arg(&source)
        .output()
        .context("run cc")?;
    ensure!(compiled.status.success(), "cc: {}", String::from_utf8_lossy(&compiled.stderr));
    Ok(std::fs::read(program)?)
}
