// What a record and a handshake cost the gateway's thread when the kernel holds the keys, against
// the userspace path: one stream in a loop, an OpenSSL client in another thread, and the clock of
// the stream's thread alone. Pairs alternate, and a ratio is taken within each.
#include <openssl/ssl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/bench/common/start.h"
#include "tests/bench/common/tls_context.h"
#include "tests/unit/tls/certificates.h"
#include "userspace/io/loop.h"
#include "userspace/proxy/stream.h"

namespace tollgate::bench {
namespace {

struct FreeSsl {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};

double thread_cpu_s() {
  rusage used{};
  ::getrusage(RUSAGE_THREAD, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

// Writes back what comes, as a relay writes on what it reads: each record is opened and sealed
// once.
class Echo final : proxy::StreamEvents {
 public:
  Echo(io::Loop& loop, proxy::FlushList& flush_list)
      : stream(loop, flush_list, *this), loop_(loop) {}

  proxy::Stream stream;
  std::string path;

 private:
  void on_stream_open() override {}
  void on_stream_data(std::span<const std::byte> plain) override { stream.write(plain); }
  void on_stream_end(proxy::StreamEnd, const Error&) override {
    path = stream.channel().path();
    stream.finish();
  }
  void on_stream_drained() override {}
  void on_stream_closed() override { loop_.stop(); }

  io::Loop& loop_;
};

class Client {
 public:
  Client(SSL_CTX* context, const Endpoint& to)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), ssl_(SSL_new(context)) {
    sockaddr_storage storage{};
    const socklen_t length = sockaddr_from_endpoint(to, storage);
    if (::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0) {
      die("connect to the stream's listener");
    }
    SSL_set_fd(ssl_.get(), fd_.get());
  }
  // The connection is queued at the listener already; the rest is for the client's own thread.
  void run(size_t record_bytes, size_t records) {
    if (SSL_connect(ssl_.get()) != 1) die("handshake with the stream");
    std::vector<char> record(record_bytes, 'r');
    for (size_t i = 0; i < records; ++i) {
      size_t done = 0;
      for (size_t sent = 0; sent < record.size(); sent += done) {
        if (SSL_write_ex(ssl_.get(), record.data() + sent, record.size() - sent, &done) != 1) {
          die("write");
        }
      }
      for (size_t got = 0; got < record.size(); got += done) {
        if (SSL_read_ex(ssl_.get(), record.data() + got, record.size() - got, &done) != 1) {
          die("read");
        }
      }
    }
    SSL_shutdown(ssl_.get());
    char byte = 0;
    while (::recv(fd_.get(), &byte, 1, 0) > 0) {
    }
  }

 private:
  UniqueFd fd_;
  std::unique_ptr<SSL, FreeSsl> ssl_;
};

// One record path: its server context.
class Path {
 public:
  Path(const tls::Certificates& certificates, const char* name, const tls::KernelUse& use)
      : name_(name),
        server_(*tls::make_server_context(certificates.certificate(), certificates.key(), use)) {}

  // The gateway's CPU seconds for one connection that carries so many messages both ways.
  double connection(io::Loop& loop, SSL_CTX* client_context, size_t bytes, size_t count) const {
    proxy::FlushList flush_list;
    Echo echo(loop, flush_list);
    const UniqueFd listener = std::move(*io::listen_tcp({.at = {*parse_ip("127.0.0.1"), 0}}));
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&storage), &length);
    Client client(client_context, *endpoint_from_sockaddr(storage));
    UniqueFd accepted;
    while (!accepted)
      accepted = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    std::thread peer([&] { client.run(bytes, count); });
    const double before = thread_cpu_s();
    {
      const proxy::FlushList::Turn turn(flush_list);
      echo.stream.accept(std::move(accepted), server_->make_channel());
    }
    loop.run();
    const double used = thread_cpu_s() - before;
    peer.join();
    if (echo.path != name_) die("the connection ran on " + echo.path + ", not on " + name_);
    return used;
  }

 private:
  std::string name_;
  std::shared_ptr<const tls::ServerContext> server_;
};

struct Row {
  const char* name;
  size_t bytes;
  size_t count;        // messages of a connection, or
  size_t connections;  // handshakes with one small message each
};
constexpr Row kRows[] = {
    {"record of 100 B", 100, 400, 1},      {"record of 300 B", 300, 400, 1},
    {"record of 4 KB", 4096, 200, 1},      {"record of 16 KB", 16'384, 100, 1},
    {"message of 256 KB", 262'144, 10, 1}, {"handshake", 1, 1, 20},
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Microseconds for each message, or for each connection.
double measure(io::Loop& loop, SSL_CTX* client_context, const Path& path, const Row& row) {
  double used = 0;
  for (size_t i = 0; i < row.connections; ++i)
    used += path.connection(loop, client_context, row.bytes, row.count);
  return used * 1e6 / static_cast<double>(row.connections * row.count);
}

void compare(io::Loop& loop, SSL_CTX* client_context, const Path& userspace, const Path& kernel,
             const Row& row, int rounds) {
  std::vector<double> of_userspace;
  std::vector<double> of_kernel;
  std::vector<double> ratios;
  for (int round = 0; round < rounds; ++round) {
    const bool kernel_first = round % 2 == 1;
    const double first = measure(loop, client_context, kernel_first ? kernel : userspace, row);
    const double second = measure(loop, client_context, kernel_first ? userspace : kernel, row);
    of_kernel.push_back(kernel_first ? first : second);
    of_userspace.push_back(kernel_first ? second : first);
    ratios.push_back(of_kernel.back() / of_userspace.back());
  }
  const auto [low, high] = std::minmax_element(ratios.begin(), ratios.end());
  std::printf("| %s | %.1f | %.1f | %.2f | %.2f to %.2f |\n", row.name, median(of_userspace),
              median(of_kernel), median(ratios), *low, *high);
  std::fflush(stdout);
}

int run(int argc, char** argv) {
  CLI::App app("CPU of the gateway's thread: TLS records in the kernel against userspace");
  int rounds = 5;
  app.add_option("--rounds", rounds, "alternating pairs for each row")->check(CLI::Range(1, 100));
  parse_options(app, argc, argv);
  prepare_process();
  const tls::KernelTls kernel_tls = tls::probe_kernel_tls();
  if (!kernel_tls.available) die("no TLS in this kernel: " + kernel_tls.reason);
  const auto loop = std::move(*io::Loop::make({}));
  if (loop->backend() != io::Loop::Backend::io_uring)
    die("no io_uring: " + loop->fallback_reason());
  const tls::Certificates certificates;
  const Path userspace(certificates, "openssl", {});
  const Path kernel(certificates, "ktls", kernel_tls.use);
  const TlsContext client = make_client_context();
  std::printf(
      "| gateway's CPU for each | userspace, us | kernel, us | ratio | range |\n"
      "| --- | --- | --- | --- | --- |\n");
  for (const Row& row : kRows)
    compare(*loop, client.get(), userspace, kernel, row, rounds);
  return 0;
}

}  // namespace
}  // namespace tollgate::bench

int main(int argc, char** argv) {
  return tollgate::bench::run(argc, argv);
}
