// A TypeScript program on stubs that ts-proto generated from ottla.api, and nothing else of Ottla:
// one scenario a run, its outcome as JSON.
//
//   node client.js ADDRESS SCENARIO
import { ClientReadableStream, credentials, Metadata, ServiceError, status } from "@grpc/grpc-js";
import { AdminServiceClient, CreateTopicsResponse } from "./stubs/ottla/api/admin/v1/admin";
import { ErrorReason, errorReasonToJSON } from "./stubs/ottla/api/error/v1/error";
import {
  FetchServiceClient,
  ListOffsetsResponse,
  OffsetPosition,
  ReadResponse,
} from "./stubs/ottla/api/fetch/v1/fetch";
import { Acks, ProduceServiceClient, PublishResponse } from "./stubs/ottla/api/produce/v1/produce";
import { PlainRecord } from "./stubs/ottla/api/record/v1/record";
import { ErrorInfo } from "./stubs/google/rpc/error_details";
import { Status } from "./stubs/google/rpc/status";

type Outcome = Record<string, unknown>;
type Callback<Answer> = (error: ServiceError | null, answer: Answer) => void;

const address = process.argv[2];
const fetches = new FetchServiceClient(address, credentials.createInsecure());
const produces = new ProduceServiceClient(address, credentials.createInsecure());
const admin = new AdminServiceClient(address, credentials.createInsecure());

function answered<Answer>(call: (done: Callback<Answer>) => void): Promise<Answer> {
  return new Promise((resolve, reject) =>
    call((error, answer) => (error ? reject(error) : resolve(answer))),
  );
}

async function readToEnd(topic: string): Promise<PlainRecord[]> {
  const stream: ClientReadableStream<ReadResponse> = fetches.read({
    topic,
    topicId: Buffer.alloc(0),
    partition: 0,
    start: { start: { $case: "position", value: OffsetPosition.OFFSET_POSITION_EARLIEST } },
    until: { until: { $case: "highWatermarkAtStart", value: {} } },
    maxRecords: 0n,
    maxBytes: 0n,
    format: 0,
    isolation: 0,
  });
  const records: PlainRecord[] = [];
  for await (const answer of stream) {
    records.push(...(answer as ReadResponse).records);
  }
  return records;
}

async function walk(): Promise<Outcome> {
  const topic = "typescript.walk";
  const created = await answered<CreateTopicsResponse>((done) =>
    admin.createTopics(
      {
        topics: [{ name: topic, partitionCount: 2, replicationFactor: 0, assignments: [], configs: {} }],
        validateOnly: false,
      },
      done,
    ),
  );
  const record = { offset: 0n, timestampMs: 1_357_034_220_000n, headers: [] };
  const published = await answered<PublishResponse>((done) =>
    produces.publish(
      {
        topic,
        topicId: Buffer.alloc(0),
        partition: 0,
        acks: Acks.ACKS_ALL,
        timeoutMs: 0,
        records: [
          { ...record, key: Buffer.from("UA"), value: Buffer.from("EWR-IAH") },
          { ...record, key: Buffer.from("AA"), headers: [{ key: "gone", value: Buffer.alloc(0) }] },
        ],
      },
      done,
    ),
  );
  const records = await readToEnd(topic);
  return {
    partitions: created.results[0].partitionCount,
    offsets: published.results.map((result) => Number(result.offset)),
    records: records.map((each) => ({
      offset: Number(each.offset),
      key: String(each.key),
      value: String(each.value ?? ""),
      tombstone: each.value === undefined,
      headers: each.headers.length,
    })),
  };
}

async function failures(): Promise<Outcome> {
  const topic = "typescript.nowhere";
  const failed = await readToEnd(topic).catch((error: ServiceError) => error);
  if (Array.isArray(failed)) throw new Error("the read of a missing topic succeeded");
  const listed = await answered<ListOffsetsResponse>((done) =>
    fetches.listOffsets(
      {
        queries: [
          {
            topic,
            topicId: Buffer.alloc(0),
            partition: 0,
            query: { $case: "position", value: OffsetPosition.OFFSET_POSITION_LATEST },
          },
        ],
        isolation: 0,
      },
      new Metadata(),
      done,
    ),
  );
  const reason = listed.results[0].error?.reason ?? ErrorReason.ERROR_REASON_UNSPECIFIED;
  return {
    call: { code: status[failed.code], ...errorInfo(failed) },
    item: errorReasonToJSON(reason),
    known: reason === ErrorReason.ERROR_REASON_UNKNOWN_TOPIC_OR_PARTITION,
  };
}

function errorInfo(error: ServiceError): Outcome {
  const [encoded] = error.metadata.get("grpc-status-details-bin");
  const details = Status.decode(encoded as Buffer).details;
  const found = details.find((each) => each.typeUrl.endsWith("/google.rpc.ErrorInfo"));
  if (found === undefined) return {};
  const { reason, domain, metadata } = ErrorInfo.decode(found.value);
  return { reason, domain, topic: metadata.topic };
}

const scenarios: Record<string, () => Promise<Outcome>> = { walk, failures };
scenarios[process.argv[3]]().then(
  (outcome) => {
    console.log(JSON.stringify(outcome));
    process.exit(0);
  },
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
