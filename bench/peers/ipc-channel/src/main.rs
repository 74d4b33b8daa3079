//! ipc-channel: a channel of bytes in each direction. Its servers accept once, under a name that they choose, so a
//! client makes one and tells its name over a plain Unix socket.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;

use frame::{Answer, Inline, Pipe, Result, Service, program, ready, serve_each};
use ipc_channel::IpcError;
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender, bytes_channel};

type Ends = (IpcBytesSender, IpcBytesReceiver);

struct Lane {
    sender: IpcBytesSender,
    receiver: IpcBytesReceiver,
}

impl Pipe for Lane {
    async fn connect(address: &str) -> Result<Lane> {
        let (server, name) = IpcOneShotServer::<Ends>::new()?;
        let mut stream = UnixStream::connect(address)?;
        stream.write_all(name.as_bytes())?;
        drop(stream);
        let (_, (sender, receiver)) = server.accept()?;
        Ok(Lane { sender, receiver })
    }

    async fn post(&mut self, message: &[u8]) -> Result<()> {
        Ok(self.sender.send(message)?)
    }

    async fn take(&mut self, check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        check(&self.receiver.recv()?)
    }
}

fn serve(address: &str) -> Result<()> {
    let listener = UnixListener::bind(address)?;
    ready(address)?;
    let accept = move || {
        let mut name = String::new();
        listener.accept()?.0.read_to_string(&mut name)?;
        let (to_server, receiver) = bytes_channel()?;
        let (sender, to_client) = bytes_channel()?;
        IpcSender::<Ends>::connect(name)?.send((to_server, to_client))?;
        Ok((sender, receiver))
    };
    serve_each(accept, answer)
}

fn answer((sender, receiver): Ends) -> Result<()> {
    let mut service = Service::default();
    loop {
        let message = match receiver.recv() {
            Err(IpcError::Disconnected) => return Ok(()),
            received => received?,
        };
        match service.handle(&message)? {
            Answer::Echo => sender.send(&message)?,
            Answer::Nothing => {}
            Answer::Report(report) => sender.send(&report)?,
        }
    }
}

fn main() -> ExitCode {
    program::<Lane>(Inline, serve)
}
