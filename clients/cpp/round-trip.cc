// Records to Ottla and back, on stubs that protoc generated and nothing of Ottla's own.
//
//   round-trip ADDRESS [RECORDS [CA-FILE]]

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/error_details.h>
#include <zlib.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <future>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "ottla/api/admin/v1/admin.grpc.pb.h"
#include "ottla/api/fetch/v1/fetch.grpc.pb.h"
#include "ottla/api/produce/v1/produce.grpc.pb.h"

namespace admin = ottla::api::admin::v1;
namespace error = ottla::api::error::v1;
namespace fetch = ottla::api::fetch::v1;
namespace produce = ottla::api::produce::v1;
using ottla::api::record::v1::PlainRecord;
using Channel = std::shared_ptr<grpc::Channel>;
using Clock = std::chrono::steady_clock;

constexpr int kPartitions = 4;
// A call carries 1 MiB and 30,000 records at most; a thousand of these are some 120 kB.
constexpr int kRecordsPerCall = 1000;

Channel Connect(const std::string& address, const char* authority) {
  grpc::ChannelArguments arguments;
  // No call takes longer than a minute.
  arguments.SetServiceConfigJSON(R"({"methodConfig": [{"name": [{}], "timeout": "60s"}]})");
  if (authority == nullptr) {
    return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  }
  std::ifstream file(authority);
  if (!file) throw std::runtime_error(std::string("cannot read ") + authority);
  grpc::SslCredentialsOptions options;
  options.pem_root_certs.assign(std::istreambuf_iterator<char>(file), {});
  return grpc::CreateCustomChannel(address, grpc::SslCredentials(options), arguments);
}

// Record `number`: one in 101 has no value, which is not the same as an empty one.
void FillRecord(int number, PlainRecord* record) {
  record->set_key("key-" + std::to_string(number % 1000));
  if (number % 101 == 100) return;
  std::string value = "record " + std::to_string(number) + " ";
  value.resize(100, '.');
  record->set_value(value);
}

void Add(const PlainRecord& record, uLong* checksum) {
  const std::string value = (record.has_value() ? '\1' : '\0') + record.value();
  for (const std::string& bytes : {record.key(), value}) {
    *checksum = crc32(*checksum, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  }
}

void Check(const grpc::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.error_message());
}

// An answer says of every item what became of it: one may fail while the others succeed.
template <typename Answer>
void Check(const grpc::Status& status, const Answer& answer) {
  Check(status);
  for (const auto& result : answer.results()) {
    if (!result.has_error()) continue;
    throw std::runtime_error(error::ErrorReason_Name(result.error().reason()) + ": " +
                             result.error().message());
  }
}

// Records read, and the checksums of what was sent and read.
struct Sums {
  int records = 0;
  uLong sent = 0, read = 0;
};

// Sends a partition its share of the records, in order: a call follows when the last is answered.
void Publish(const Channel& channel, const std::string& topic, int partition, int count,
             Sums* sums) {
  auto stub = produce::ProduceService::NewStub(channel);
  for (int number = partition; number < count;) {
    produce::PublishRequest request;
    request.set_topic(topic);
    request.set_partition(partition);
    request.set_acks(produce::ACKS_ALL);
    for (; number < count && request.records_size() < kRecordsPerCall; number += kPartitions) {
      FillRecord(number, request.add_records());
      Add(*request.records().rbegin(), &sums->sent);
    }
    grpc::ClientContext context;
    produce::PublishResponse answer;
    Check(stub->Publish(&context, request, &answer), answer);
  }
}

// Reads a partition from its first record to the end that it has when the call begins.
grpc::Status Read(const Channel& channel, const std::string& topic, int partition, Sums* sums) {
  fetch::ReadRequest request;
  request.set_topic(topic);
  request.set_partition(partition);
  request.mutable_start()->set_position(fetch::OFFSET_POSITION_EARLIEST);
  request.mutable_until()->mutable_high_watermark_at_start();
  request.set_format(fetch::READ_FORMAT_RECORDS);
  grpc::ClientContext context;
  auto answers = fetch::FetchService::NewStub(channel)->Read(&context, request);
  fetch::ReadResponse answer;
  while (answers->Read(&answer)) {
    sums->records += answer.records_size();
    for (const PlainRecord& record : answer.records()) Add(record, &sums->read);
  }
  return answers->Finish();
}

// The reason of a call that failed: what a program decides on, where the text is for people.
std::string Reason(const grpc::Status& failed) {
  google::rpc::Status status;
  google::rpc::ErrorInfo info;
  Check(grpc::ExtractErrorDetails(failed, &status));
  for (const auto& detail : status.details()) {
    if (detail.UnpackTo(&info) && info.domain() == "ottla") return info.reason();
  }
  return "";
}

void CreateTopic(const Channel& channel, const std::string& topic) {
  admin::CreateTopicsRequest request;
  admin::NewTopic* wanted = request.add_topics();
  wanted->set_name(topic);
  wanted->set_partition_count(kPartitions);
  grpc::ClientContext context;
  admin::CreateTopicsResponse answer;
  Check(admin::AdminService::NewStub(channel)->CreateTopics(&context, request, &answer), answer);
}

void DeleteTopic(const Channel& channel, const std::string& topic) {
  admin::DeleteTopicsRequest request;
  request.add_topics()->set_name(topic);
  grpc::ClientContext context;
  admin::DeleteTopicsResponse answer;
  Check(admin::AdminService::NewStub(channel)->DeleteTopics(&context, request, &answer), answer);
}

int main(int argument_count, char** arguments) try {
  if (argument_count < 2) throw std::runtime_error("round-trip ADDRESS [RECORDS [CA-FILE]]");
  const int count = argument_count > 2 ? std::stoi(arguments[2]) : 100'000;
  const Channel channel = Connect(arguments[1], argument_count > 3 ? arguments[3] : nullptr);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const std::string topic = "round-trip.cpp." + std::to_string(now / std::chrono::milliseconds(1));
  CreateTopic(channel, topic);

  const auto started = Clock::now();
  std::vector<std::future<Sums>> partitions;
  for (int partition = 0; partition < kPartitions; ++partition) {
    partitions.push_back(std::async(std::launch::async, [&, partition] {
      Sums part;
      Publish(channel, topic, partition, count, &part);
      Check(Read(channel, topic, partition, &part));
      return part;
    }));
  }
  Sums sums;
  for (auto& each : partitions) {
    const Sums part = each.get();
    sums = {sums.records + part.records, sums.sent ^ part.sent, sums.read ^ part.read};
  }
  const std::chrono::duration<double> elapsed = Clock::now() - started;

  const std::string reason = Reason(Read(channel, "cpp.nowhere", 0, &sums));
  DeleteTopic(channel, topic);
  std::printf(
      R"({"language": "cpp", "records": %d, "sent": "%08lx", "read": "%08lx", )"
      R"("reason": "%s", "seconds": %.3f})"
      "\n",
      sums.records, sums.sent, sums.read, reason.c_str(), elapsed.count());
  if (sums.records != count || sums.sent != sums.read) {
    throw std::runtime_error("what was read is not what was sent");
  }
  return 0;
} catch (const std::exception& failure) {
  std::cerr << failure.what() << '\n';
  return 1;
}
