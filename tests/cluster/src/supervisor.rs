//! The process that holds a bed: obeys requests on standard input, answers on standard output, and tears all down when
//! the input ends.

use std::io::BufReader;

use crate::Error;
use crate::bed::Running;
use crate::protocol::{Reply, Request, receive, send};

/// Runs the supervisor until its input ends or it is told to stop.
pub fn supervise() -> Result<(), Error> {
    let mut requests = BufReader::new(std::io::stdin());
    let mut replies = std::io::stdout();
    let Some(Request::Start(options)) = receive(&mut requests)? else {
        return Ok(());
    };
    let mut running = match Running::start(options) {
        Ok(running) => running,
        Err(error) => return send(&mut replies, &Reply::Failed(error.full())),
    };
    // The test may be gone already; then its end of the pipe tells the same, so the loop is entered all the same.
    drop(send(&mut replies, &Reply::Ready(running.bed().clone())));

    let mut detached = false;
    // A line that is not understood ends the bed as the end of the input does.
    while let Ok(Some(request)) = receive(&mut requests) {
        let done = match request {
            Request::Stop => {
                let reply = running.stop().map_or_else(|error| Reply::Failed(error.full()), |()| Reply::Done);
                return send(&mut replies, &reply);
            }
            Request::Detach => {
                detached = true;
                Ok(Reply::Done)
            }
            other => obey(other, &mut running),
        };
        drop(send(&mut replies, &done.unwrap_or_else(|error| Reply::Failed(error.full()))));
    }
    if detached {
        loop {
            std::thread::park();
        }
    }
    running.stop()
}

fn obey(request: Request, running: &mut Running) -> Result<Reply, Error> {
    match request {
        Request::StopNode(number) => running.stop_node(number)?,
        Request::StartNode(number) => running.start_node(number)?,
        Request::CutLink(number) => running.set_link(number, "down")?,
        Request::HealLink(number) => running.set_link(number, "up")?,
        Request::StopApiServer => running.stop_api_server()?,
        Request::StartApiServer => running.start_api_server()?,
        Request::AddRegistry(registry) => running.add_registry(registry)?,
        Request::Run { node, command } => return running.run(node, &command).map(Reply::Ran),
        Request::Start(_) | Request::Detach | Request::Stop => return Err(Error::RequestOutOfOrder),
    }
    Ok(Reply::Done)
}
