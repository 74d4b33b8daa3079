//! iceoryx2: request-response for requests, publish-subscribe for one-way messages, both in shared memory. Neither
//! wakes anybody: events beside them do, one for all that was sent before it, so that who has nothing to do sleeps.
//!
//! A server that is killed leaves its files behind; the next node on the machine removes them.

use std::collections::VecDeque;
use std::process::ExitCode;

use frame::{Answer, Client, Flight, Inline, Result, Service, WINDOW, program, ready};
use iceoryx2::active_request::ActiveRequest;
use iceoryx2::pending_response::PendingResponse;
use iceoryx2::port::client::Client as Caller;
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::{event, publish_subscribe, request_response};

/// Clients at a time: one may come before the other has left.
const CLIENTS: usize = 2;
/// The longest message: ports set memory aside for as many of these as there may be.
const LONGEST: usize = 1 << 20;

/// A service for one-way messages of some sizes: memory is set aside for as many of the longest as may wait.
struct Size {
    name: &'static str,
    longest: usize,
    queued: usize,
}

impl Size {
    const SMALL: Size = Size { name: "small", longest: 4096, queued: 1024 };
    const LARGE: Size = Size { name: "large", longest: LONGEST, queued: 16 };

    fn of(length: usize) -> Size {
        if length <= Size::SMALL.longest { Size::SMALL } else { Size::LARGE }
    }

    /// Messages between two events. Fewer than may wait: who waits for room has woken the subscriber.
    fn burst(&self) -> usize {
        self.queued / 2
    }
}

type Node = iceoryx2::node::Node<ipc::Service>;
type Requests = request_response::PortFactory<ipc::Service, [u8], (), [u8], ()>;
type OneWay = publish_subscribe::PortFactory<ipc::Service, [u8], ()>;
type Event = event::PortFactory<ipc::Service>;
type Pending = PendingResponse<ipc::Service, [u8], (), [u8], ()>;
type Request = ActiveRequest<ipc::Service, [u8], (), [u8], ()>;
type Hearing = Subscriber<ipc::Service, [u8], ()>;

/// What an address stands for: services of this name.
struct Services<'a> {
    node: &'a Node,
    address: &'a str,
}

impl Services<'_> {
    fn name(&self, of: &str) -> Result<ServiceName> {
        Ok(ServiceName::new(&format!("{}/{of}", self.address))?)
    }

    fn requests(&self) -> Result<Requests> {
        let service = self.node.service_builder(&self.name("requests")?).request_response::<[u8], [u8]>();
        let limits = service.max_servers(1).max_clients(CLIENTS).max_nodes(2 * CLIENTS);
        let queues = limits
            .max_active_requests_per_client(WINDOW)
            .max_response_buffer_size(1)
            .max_borrowed_responses_per_pending_response(1);
        let lossless = queues.enable_safe_overflow_for_requests(false).enable_safe_overflow_for_responses(false);
        Ok(lossless.open_or_create()?)
    }

    fn one_way(&self, size: &Size) -> Result<OneWay> {
        let service = self.node.service_builder(&self.name(size.name)?).publish_subscribe::<[u8]>();
        let limits = service.max_subscribers(1).max_publishers(CLIENTS).max_nodes(2 * CLIENTS);
        let queue = limits.subscriber_max_buffer_size(size.queued).history_size(0).enable_safe_overflow(false);
        Ok(queue.open_or_create()?)
    }

    fn event(&self, of: &str) -> Result<Event> {
        let service = self.node.service_builder(&self.name(of)?).event();
        Ok(service.max_listeners(CLIENTS).max_notifiers(CLIENTS).max_nodes(2 * CLIENTS).open_or_create()?)
    }

    /// Wakes the server.
    fn work(&self) -> Result<Event> {
        self.event("work")
    }

    /// Wakes the clients.
    fn answers(&self) -> Result<Event> {
        self.event("answers")
    }
}

fn node() -> Result<Node> {
    set_log_level(LogLevel::Error);
    Ok(NodeBuilder::new().create::<ipc::Service>()?)
}

struct Lane {
    node: Node,
    address: String,
    requests: Caller<ipc::Service, [u8], (), [u8], ()>,
    work: Notifier<ipc::Service>,
    answers: Listener<ipc::Service>,
    /// Made for the first one-way message.
    told: Option<Told>,
}

/// Where one-way messages of a connection go.
struct Told {
    publisher: Publisher<ipc::Service, [u8], ()>,
    burst: usize,
    /// Messages since the last event.
    silent: usize,
}

impl Lane {
    fn ask(&self, request: &[u8]) -> Result<Pending> {
        Ok(self.requests.loan_slice_uninit(request.len())?.write_from_slice(request).send()?)
    }

    fn told(&mut self, length: usize) -> Result<&mut Told> {
        if self.told.is_none() {
            let size = Size::of(length);
            let service = Services { node: &self.node, address: &self.address }.one_way(&size)?;
            let publisher = service.publisher_builder().initial_max_slice_len(size.longest);
            let patient = publisher.backpressure_strategy(BackpressureStrategy::RetryUntilDelivered);
            self.told = Some(Told { publisher: patient.create()?, burst: size.burst(), silent: 0 });
        }
        self.told.as_mut().ok_or_else(|| "no publisher was made".into())
    }

    fn wait(&self, pending: &Pending, check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        loop {
            if let Some(response) = pending.receive()? {
                return check(response.payload());
            }
            self.answers.blocking_wait(|_| ())?;
        }
    }
}

impl Client for Lane {
    async fn connect(address: &str) -> Result<Lane> {
        let node = node()?;
        let services = Services { node: &node, address };
        Ok(Lane {
            requests: services.requests()?.client_builder().initial_max_slice_len(LONGEST).create()?,
            work: services.work()?.notifier_builder().create()?,
            answers: services.answers()?.listener_builder().create()?,
            told: None,
            address: address.to_owned(),
            node,
        })
    }

    async fn call(&mut self, request: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        let pending = self.ask(request)?;
        self.work.notify()?;
        self.wait(&pending, check)
    }

    async fn fly(&mut self, flight: &mut Flight) -> Result<()> {
        let mut asked = VecDeque::with_capacity(WINDOW);
        loop {
            // As many as were answered since.
            let before = asked.len();
            while asked.len() < WINDOW {
                let Some(request) = flight.launch() else { break };
                asked.push_back(self.ask(request)?);
            }
            if asked.len() > before {
                self.work.notify()?;
            }
            let Some(pending) = asked.pop_front() else { return Ok(()) };
            self.wait(&pending, |reply| flight.landed(reply))?;
            while let Some(pending) = asked.front() {
                let Some(response) = pending.receive()? else { break };
                flight.landed(response.payload())?;
                drop(response);
                asked.pop_front();
            }
        }
    }

    async fn send(&mut self, message: &[u8]) -> Result<()> {
        let told = self.told(message.len())?;
        told.publisher.loan_slice_uninit(message.len())?.write_from_slice(message).send()?;
        told.silent += 1;
        if told.silent == told.burst {
            told.silent = 0;
            self.work.notify()?;
        }
        Ok(())
    }

    async fn finish(&mut self, message: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        self.told.iter_mut().for_each(|told| told.silent = 0);
        self.call(message, check).await
    }
}

fn serve(address: &str) -> Result<()> {
    let services = Services { node: &node()?, address };
    let server = services.requests()?.server_builder().initial_max_slice_len(LONGEST).create()?;
    let hear = |size| -> Result<Hearing> { Ok(services.one_way(&size)?.subscriber_builder().create()?) };
    let hearing = [hear(Size::SMALL)?, hear(Size::LARGE)?];
    let work = services.work()?.listener_builder().create()?;
    let answers = services.answers()?.notifier_builder().create()?;
    let mut service = Service::default();
    ready(address)?;
    loop {
        work.blocking_wait(|_| ())?;
        count(&hearing, &mut service)?;
        let mut answered = false;
        while let Some(request) = server.receive()? {
            // What was published before it comes before it.
            count(&hearing, &mut service)?;
            answer(&request, &mut service)?;
            answered = true;
        }
        if answered {
            answers.notify()?;
        }
    }
}

fn count(hearing: &[Hearing], service: &mut Service) -> Result<()> {
    for subscriber in hearing {
        while let Some(message) = subscriber.receive()? {
            service.handle(message.payload())?;
        }
    }
    Ok(())
}

fn answer(request: &Request, service: &mut Service) -> Result<()> {
    let report;
    let reply = match service.handle(request.payload())? {
        Answer::Echo => request.payload(),
        Answer::Nothing => return Ok(()),
        Answer::Report(counted) => {
            report = counted;
            &report[..]
        }
    };
    Ok(request.loan_slice_uninit(reply.len())?.write_from_slice(reply).send()?)
}

fn main() -> ExitCode {
    program::<Lane>(Inline, serve)
}
