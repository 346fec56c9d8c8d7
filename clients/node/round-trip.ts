// Records to Ottla and back, on stubs that ts-proto generated and nothing of Ottla's own.
//
//   node built/round-trip.js ADDRESS [RECORDS [CA-FILE]]
import { readFileSync } from "node:fs";
import { crc32 } from "node:zlib";
import { credentials, ServiceError } from "@grpc/grpc-js";

import { AdminServiceClient } from "./stubs/ottla/api/admin/v1/admin";
import { CreateTopicsRequest, CreateTopicsResponse } from "./stubs/ottla/api/admin/v1/admin";
import { DeleteTopicsRequest, DeleteTopicsResponse } from "./stubs/ottla/api/admin/v1/admin";
import { Error as OttlaError, errorReasonToJSON } from "./stubs/ottla/api/error/v1/error";
import { FetchServiceClient, OffsetPosition, ReadFormat } from "./stubs/ottla/api/fetch/v1/fetch";
import { ReadRequest, ReadResponse } from "./stubs/ottla/api/fetch/v1/fetch";
import { Acks, ProduceServiceClient } from "./stubs/ottla/api/produce/v1/produce";
import { PublishRequest, PublishResponse } from "./stubs/ottla/api/produce/v1/produce";
import { PlainRecord } from "./stubs/ottla/api/record/v1/record";
import { ErrorInfo } from "./stubs/google/rpc/error_details";
import { Status } from "./stubs/google/rpc/status";

const PARTITIONS = 4;
// A call carries 1 MiB and 30,000 records at most; a thousand of these are some 120 kB.
const RECORDS_PER_CALL = 1000;

const [address, given = "100000", authority] = process.argv.slice(2);
const count = Number(given);
if (!address || !Number.isInteger(count)) {
  throw new Error("round-trip.js ADDRESS [RECORDS [CA-FILE]]");
}
const security = authority
  ? credentials.createSsl(readFileSync(authority))
  : credentials.createInsecure();
// No call takes longer than a minute.
const options = {
  "grpc.service_config": JSON.stringify({
    loadBalancingConfig: [],
    methodConfig: [{ name: [{}], timeout: "60s" }],
  }),
};
const admin = new AdminServiceClient(address, security, options);
const fetches = new FetchServiceClient(address, security, options);
const produces = new ProduceServiceClient(address, security, options);

// Record `number`: one in 101 has no value, which is not the same as an empty one.
function record(number: number): PlainRecord {
  const key = Buffer.from(`key-${number % 1000}`);
  const value = Buffer.from(`record ${number} `.padEnd(100, "."));
  return PlainRecord.create(number % 101 === 100 ? { key } : { key, value });
}

function add(checksum: number, record: PlainRecord): number {
  const mark = Buffer.from([record.value === undefined ? 0 : 1]);
  const marked = crc32(mark, crc32(record.key!, checksum));
  return record.value === undefined ? marked : crc32(record.value, marked);
}

// An answer says of every item what became of it: one may fail while the others succeed.
interface Answer {
  results: { error?: OttlaError }[];
}

function answered<A extends Answer>(
  call: (done: (failed: ServiceError | null, answer: A) => void) => void,
): Promise<A> {
  return new Promise((resolve, reject) =>
    call((failed, answer) => {
      const error = failed ? undefined : answer.results.find((result) => result.error)?.error;
      if (failed) reject(failed);
      else if (error) reject(new Error(`${errorReasonToJSON(error.reason)}: ${error.message}`));
      else resolve(answer);
    }),
  );
}

// Sends a partition its share of the records, in order: a call follows when the last is answered.
async function publish(topic: string, partition: number): Promise<number> {
  let checksum = 0;
  for (let number = partition; number < count; ) {
    const records: PlainRecord[] = [];
    for (; number < count && records.length < RECORDS_PER_CALL; number += PARTITIONS) {
      records.push(record(number));
    }
    checksum = records.reduce(add, checksum);
    const request = PublishRequest.create({ topic, partition, acks: Acks.ACKS_ALL, records });
    await answered<PublishResponse>((done) => produces.publish(request, done));
  }
  return checksum;
}

// Reads a partition from its first record to the end that it has when the call begins.
async function read(topic: string, partition: number): Promise<[number, number]> {
  const request = ReadRequest.create({
    topic,
    partition,
    start: { start: { $case: "position", value: OffsetPosition.OFFSET_POSITION_EARLIEST } },
    until: { until: { $case: "highWatermarkAtStart", value: {} } },
    format: ReadFormat.READ_FORMAT_RECORDS,
  });
  let [found, checksum] = [0, 0];
  for await (const answer of fetches.read(request) as AsyncIterable<ReadResponse>) {
    found += answer.records.length;
    checksum = answer.records.reduce(add, checksum);
  }
  return [found, checksum];
}

// The reason of a call that failed: what a program decides on, where the text is for people.
function reason(failed: ServiceError): string | undefined {
  const [encoded] = failed.metadata.get("grpc-status-details-bin");
  const infos = Status.decode(encoded as Buffer)
    .details.filter((detail) => detail.typeUrl.endsWith("/google.rpc.ErrorInfo"))
    .map((detail) => ErrorInfo.decode(detail.value));
  return infos.find((info) => info.domain === "ottla")?.reason;
}

async function main(): Promise<void> {
  const topic = `round-trip.node.${Date.now()}`;
  const created = { name: topic, partitionCount: PARTITIONS };
  const wanted = CreateTopicsRequest.create({ topics: [created] });
  await answered<CreateTopicsResponse>((done) => admin.createTopics(wanted, done));

  const started = performance.now();
  let [records, sent, found] = [0, 0, 0];
  const roundTrips = Array.from({ length: PARTITIONS }, async (_, partition) => {
    const published = await publish(topic, partition);
    const [length, checksum] = await read(topic, partition);
    [records, sent, found] = [records + length, sent ^ published, found ^ checksum];
  });
  await Promise.all(roundTrips);
  const seconds = (performance.now() - started) / 1000;

  const refused = await read("node.nowhere", 0).then(() => undefined, reason);
  const unwanted = DeleteTopicsRequest.create({ topics: [{ name: topic }] });
  await answered<DeleteTopicsResponse>((done) => admin.deleteTopics(unwanted, done));
  const hex = (checksum: number) => (checksum >>> 0).toString(16).padStart(8, "0");
  const outcome = { language: "node", records, sent: hex(sent), read: hex(found) };
  console.log(JSON.stringify({ ...outcome, reason: refused, seconds }));
  if (records !== count || sent !== found) throw new Error("what was read is not what was sent");
}

main().then(
  () => process.exit(0),
  (failed) => {
    console.error(String(failed));
    process.exit(1);
  },
);
