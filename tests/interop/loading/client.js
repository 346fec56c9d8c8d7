// A JavaScript program that loads ottla.api's protos at run time, without generated stubs: one scenario
// a run, its outcome as JSON.
//
//   node client.js ADDRESS SCENARIO PROTOS
"use strict";

const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [address, scenario, protos] = process.argv.slice(2);
const files = ["admin/v1/admin", "fetch/v1/fetch", "produce/v1/produce"];
const definition = loader.loadSync(
  files.map((name) => `ottla/api/${name}.proto`),
  // Offsets and times fit a number; keys, values and ids come as Buffers.
  { includeDirs: [protos], longs: Number, enums: String, defaults: true, oneofs: true },
);
const { admin, fetch, produce } = grpc.loadPackageDefinition(definition).ottla.api;
const credentials = grpc.credentials.createInsecure();
const fetches = new fetch.v1.FetchService(address, credentials);

function answered(client, method, request) {
  return new Promise((resolve, reject) =>
    client[method](request, (error, answer) => (error ? reject(error) : resolve(answer))),
  );
}

async function readToEnd(topic) {
  const records = [];
  const request = {
    topic,
    start: { position: "OFFSET_POSITION_EARLIEST" },
    until: { highWatermarkAtStart: {} },
  };
  for await (const answer of fetches.Read(request)) {
    records.push(...answer.records);
  }
  return records;
}

async function walk() {
  const topic = "javascript.walk";
  const created = await answered(new admin.v1.AdminService(address, credentials), "CreateTopics", {
    topics: [{ name: topic, partitionCount: 2 }],
  });
  const published = await answered(new produce.v1.ProduceService(address, credentials), "Publish", {
    topic,
    partition: 0,
    records: [
      { key: Buffer.from("UA"), value: Buffer.from("EWR-IAH"), timestampMs: 1357034220000 },
      { key: Buffer.from("AA"), headers: [{ key: "gone", value: Buffer.alloc(0) }] },
    ],
  });
  const records = await readToEnd(topic);
  return {
    partitions: created.results[0].partitionCount,
    offsets: published.results.map((result) => result.offset),
    records: records.map((each) => ({
      offset: each.offset,
      key: String(each.key),
      value: String(each.value ?? ""),
      tombstone: each._value === undefined, // named for the optional field that is there
      headers: each.headers.length,
    })),
  };
}

async function failures() {
  const topic = "javascript.nowhere";
  const failed = await readToEnd(topic).catch((error) => error);
  const listed = await answered(fetches, "ListOffsets", { queries: [{ topic, position: "OFFSET_POSITION_LATEST" }] });
  const { reason } = listed.results[0].error;
  const [details] = failed.metadata.get("grpc-status-details-bin");
  return { code: grpc.status[failed.code], detailed: details.length > 0, item: reason };
}

({ walk, failures })[scenario]().then(
  (outcome) => {
    console.log(JSON.stringify(outcome));
    process.exit(0);
  },
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
