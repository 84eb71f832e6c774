//! Serves a folder until it is killed: `serve FOLDER` prints the address. The tests kill it in the middle of uploads.

use std::{io::Write as _, path::PathBuf};

use registry_server::{Server, ServerOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: serve FOLDER")?;
    let server = Server::start(ServerOptions::new(([127, 0, 0, 1], 0).into(), root)).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", server.address())?;
    out.flush()?;
    std::future::pending::<()>().await;
    Ok(())
}
