// Stock grpc-js against the broker's gRPC server: one scenario a run, its outcome as JSON.
//
//   NODE_PATH=<node_modules> node client.js ADDRESS SCENARIO [AUTHORITY]
//
// With AUTHORITY, a file of PEM certificates, the connection is TLS. Messages are bytes as they are.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const grpc = require('@grpc/grpc-js');

const [, , address, scenario, authority] = process.argv;
const credentials = authority
  ? grpc.credentials.createSsl(fs.readFileSync(authority))
  : grpc.credentials.createInsecure();
const MIB = 1024 * 1024;
const bytes = (value) => value;

function client(options = {}) {
  return new grpc.Client(address, credentials, options);
}

function path(method) {
  return `/interop.v1.InteropService/${method}`;
}

function unary(on, method, request, { metadata = new grpc.Metadata(), ...options } = {}) {
  return new Promise((resolve) => {
    const result = { code: 0, details: '', value: null, initial: null, trailing: null };
    const call = on.makeUnaryRequest(
      path(method), bytes, bytes, request, metadata, options,
      (error, value) => {
        result.code = error ? error.code : 0;
        result.details = error ? error.details : '';
        result.value = value || null;
      });
    call.on('metadata', (received) => { result.initial = received; });
    call.on('status', (status) => {
      result.trailing = status.metadata;
      // The callback runs after the status.
      setImmediate(() => resolve(result));
    });
  });
}

function collect(call, each) {
  return new Promise((resolve) => {
    call.on('data', each);
    call.on('error', () => {});
    call.on('status', (status) => resolve({ code: status.code, details: status.details }));
  });
}

function own(metadata) {
  const found = {};
  if (metadata) {
    for (const key of Object.keys(metadata.getMap())) {
      if (key.startsWith('x-')) {
        found[key] = metadata.get(key).map(
          (value) => (typeof value === 'string' ? value : value.toString('hex')));
      }
    }
  }
  return found;
}

const scenarios = {
  async unary() {
    const { code, value } = await unary(client(), 'Echo', Buffer.from('hello'));
    return { code, value: value.toString() };
  },

  async large_unary() {
    const sent = crypto.randomBytes(4 * MIB - 16);
    const { code, value } = await unary(client(), 'Echo', sent);
    return { code, equal: value.equals(sent) };
  },

  async too_large() {
    const on = client();
    const { code } = await unary(on, 'Echo', Buffer.alloc(4 * MIB + 1));
    const after = await unary(on, 'Echo', Buffer.from('still here'));
    return { code, after: after.value.toString() };
  },

  async many() {
    const on = client();
    const calls = [];
    for (let number = 0; number < 200; number += 1) {
      calls.push(unary(on, 'Echo', Buffer.from(String(number))));
    }
    return { values: (await Promise.all(calls)).map((result) => Number(result.value.toString())) };
  },

  async fetch() {
    const hash = crypto.createHash('sha256');
    const sizes = [];
    const call = client().makeServerStreamRequest(path('Fetch'), bytes, bytes, Buffer.from('24'));
    const { code } = await collect(call, (message) => { sizes.push(message.length); hash.update(message); });
    return { code, sizes, sha256: hash.digest('hex') };
  },

  async upload() {
    const hash = crypto.createHash('sha256');
    const on = client();
    const answer = await new Promise((resolve, reject) => {
      const call = on.makeClientStreamRequest(
        path('Digest'), bytes, bytes, (error, value) => (error ? reject(error) : resolve(value)));
      for (let number = 0; number < 16; number += 1) {
        const message = crypto.randomBytes(MIB - number);
        hash.update(message);
        call.write(message);
      }
      call.end();
    });
    return { answer: answer.toString(), sha256: hash.digest('hex') };
  },

  async bidi() {
    const call = client().makeBidiStreamRequest(path('EchoStream'), bytes, bytes);
    const values = [];
    call.write(Buffer.from('0'));
    const { code } = await collect(call, (message) => {
      values.push(message.toString());
      if (values.length === 20) {
        call.end();
      } else {
        call.write(Buffer.from(String(values.length)));
      }
    });
    return { code, values };
  },

  async error() {
    const { code, details, initial, trailing } = await unary(client(), 'Fail', Buffer.alloc(0));
    return { code, details, initial: own(initial), trailing: own(trailing) };
  },

  async error_after_messages() {
    const values = [];
    const call = client().makeServerStreamRequest(
      path('FailLater'), bytes, bytes, Buffer.alloc(0));
    const { code, details } = await collect(call, (message) => values.push(message.toString()));
    return { code, details, values };
  },

  async drain() {
    const values = [];
    const call = client().makeServerStreamRequest(path('Drain'), bytes, bytes, Buffer.alloc(0));
    const { code } = await collect(call, (message) => values.push(message.toString()));
    return { code, values };
  },

  async unknown_method() {
    const { code, details } = await unary(client(), 'Nothing', Buffer.alloc(0));
    return { code, details };
  },

  async metadata() {
    const metadata = new grpc.Metadata();
    metadata.add('x-text', 'a');
    metadata.add('x-text', 'b c');
    metadata.add('x-raw-bin', Buffer.from([0, 1, 254, 255]));
    metadata.add('x-raw-bin', Buffer.from([]));
    metadata.add('x-raw-bin', Buffer.from([7]));
    const { code, initial, trailing } = await unary(client(), 'Metadata', Buffer.alloc(0), { metadata });
    return { code, initial: own(initial), trailing: own(trailing) };
  },

  async deadline() {
    // Connected before the clock runs, so that the call gets to the server.
    const connected = client();
    await unary(connected, 'Echo', Buffer.alloc(0));
    const { code } = await unary(connected, 'Wait', Buffer.alloc(0), { deadline: Date.now() + 300 });
    return { code };
  },

  async cancel() {
    const call = client().makeServerStreamRequest(path('Wait'), bytes, bytes, Buffer.alloc(0));
    const { code } = await collect(call, () => call.cancel());
    return { code };
  },

  async compression() {
    const on = client({ 'grpc.default_compression_algorithm': 2 });
    const sent = Buffer.alloc(300000, 'compressible');
    const { code, value } = await unary(on, 'EchoCompressed', sent);
    return { code, equal: value.equals(sent) };
  },

  async bench_fetch() {
    const count = process.env.FETCH_COUNT;
    let received = 0;
    const began = process.hrtime.bigint();
    const call = client({ 'grpc.max_receive_message_length': -1 }).makeServerStreamRequest(
      process.env.FETCH_PATH, bytes, bytes, Buffer.from(count));
    const { code } = await collect(call, () => { received += 1; });
    const seconds = Number(process.hrtime.bigint() - began) / 1e9;
    return { code, received, seconds, mib_per_s: received / seconds };
  },
};

scenarios[scenario]().then((outcome) => {
  console.log(JSON.stringify(outcome));
  process.exit(0);
}, (error) => {
  console.error(error);
  process.exit(1);
});
