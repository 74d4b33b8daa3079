// echo ADDR: answers every message on its channel, and every call with its own bytes, until SIGINT or SIGTERM.

#include <hostlane.hpp>

#include <csignal>
#include <iostream>
#include <thread>

namespace {
// Prints an error, unless it is only the end of a conversation.
void report(const hostlane::error &error) {
    if (error.status() != HOSTLANE_E_PEER_CLOSED && error.status() != HOSTLANE_E_CLOSED) {
        std::cerr << "hostlane: " << error.name() << ": " << error.message() << '\n';
    }
}

// Serves one client until it ends.
void serve(const hostlane::peer &peer) {
    for (;;) {
        const auto message = peer.recv();
        if (!message) {
            return report(message.error());
        }
        const auto replied = message->reply(message->data());
        if (!replied && replied.status() != HOSTLANE_E_CALL_ENDED) { // then its caller has left, and others come
            return report(replied.error());
        }
    }
}

void accept_clients(const hostlane::listener &listener) {
    for (;;) {
        auto peer = listener.accept();
        if (!peer) {
            return report(peer.error());
        }
        // A thread of its own keeps a client from delaying others.
        std::thread([client = std::move(*peer)] { serve(client); }).detach();
    }
}
} // namespace

int main(int argc, char **argv) {
    if (argc != 2) {
        std::cerr << "usage: echo ADDR\n";
        return 2;
    }
    // Blocked before any thread exists, so that every signal waits for sigwait below.
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, nullptr);

    const auto listener = hostlane::listener::listen(argv[1]);
    if (!listener) {
        report(listener.error());
        return 1;
    }
    std::thread accepting([&] { accept_clients(*listener); });
    std::cout << "ready " << argv[1] << std::endl;
    int received = 0;
    sigwait(&ends, &received);
    listener->close();
    accepting.join();
    return 0;
}
