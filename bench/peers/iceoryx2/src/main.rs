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
/// One-way messages that may wait for the subscriber: memory is set aside for as many of the longest.
const QUEUED: usize = 64;
/// One-way messages between two events. Fewer than may wait: who waits for room has woken the subscriber.
const BURST: usize = QUEUED / 2;

type Node = iceoryx2::node::Node<ipc::Service>;
type Requests = request_response::PortFactory<ipc::Service, [u8], (), [u8], ()>;
type OneWay = publish_subscribe::PortFactory<ipc::Service, [u8], ()>;
type Event = event::PortFactory<ipc::Service>;
type Pending = PendingResponse<ipc::Service, [u8], (), [u8], ()>;
type Request = ActiveRequest<ipc::Service, [u8], (), [u8], ()>;
type Told = Subscriber<ipc::Service, [u8], ()>;

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

    fn one_way(&self) -> Result<OneWay> {
        let service = self.node.service_builder(&self.name("one-way")?).publish_subscribe::<[u8]>();
        let limits = service.max_subscribers(1).max_publishers(CLIENTS).max_nodes(2 * CLIENTS);
        let queue = limits.subscriber_max_buffer_size(QUEUED).history_size(0).enable_safe_overflow(false);
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
    requests: Caller<ipc::Service, [u8], (), [u8], ()>,
    publisher: Publisher<ipc::Service, [u8], ()>,
    work: Notifier<ipc::Service>,
    answers: Listener<ipc::Service>,
    /// One-way messages since the last event.
    silent: usize,
}

impl Lane {
    fn ask(&self, request: &[u8]) -> Result<Pending> {
        Ok(self.requests.loan_slice_uninit(request.len())?.write_from_slice(request).send()?)
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
        let services = Services { node: &node()?, address };
        let (requests, one_way) = (services.requests()?, services.one_way()?);
        let caller = requests.client_builder().initial_max_slice_len(LONGEST);
        let publisher = one_way.publisher_builder().initial_max_slice_len(LONGEST);
        let patient = publisher.backpressure_strategy(BackpressureStrategy::RetryUntilDelivered);
        Ok(Lane {
            requests: caller.create()?,
            publisher: patient.create()?,
            work: services.work()?.notifier_builder().create()?,
            answers: services.answers()?.listener_builder().create()?,
            silent: 0,
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
        self.publisher.loan_slice_uninit(message.len())?.write_from_slice(message).send()?;
        self.silent += 1;
        if self.silent == BURST {
            self.silent = 0;
            self.work.notify()?;
        }
        Ok(())
    }

    async fn finish(&mut self, message: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        self.silent = 0;
        self.call(message, check).await
    }
}

fn serve(address: &str) -> Result<()> {
    let services = Services { node: &node()?, address };
    let requests = services.requests()?;
    let server = requests.server_builder().initial_max_slice_len(LONGEST);
    let server = server.create()?;
    let told = services.one_way()?.subscriber_builder().create()?;
    let work = services.work()?.listener_builder().create()?;
    let answers = services.answers()?.notifier_builder().create()?;
    let mut service = Service::default();
    ready(address)?;
    loop {
        work.blocking_wait(|_| ())?;
        count(&told, &mut service)?;
        let mut answered = false;
        while let Some(request) = server.receive()? {
            // What was published before it comes before it.
            count(&told, &mut service)?;
            answer(&request, &mut service)?;
            answered = true;
        }
        if answered {
            answers.notify()?;
        }
    }
}

fn count(told: &Told, service: &mut Service) -> Result<()> {
    while let Some(message) = told.receive()? {
        service.handle(message.payload())?;
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
