import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import io.ottla.api.admin.v1.AdminServiceGrpc;
import io.ottla.api.admin.v1.CreateTopicsRequest;
import io.ottla.api.admin.v1.DeleteTopicsRequest;
import io.ottla.api.admin.v1.NewTopic;
import io.ottla.api.admin.v1.TopicRef;
import io.ottla.api.error.v1.Error;
import io.ottla.api.fetch.v1.FetchServiceGrpc;
import io.ottla.api.fetch.v1.HighWatermarkAtStart;
import io.ottla.api.fetch.v1.OffsetPosition;
import io.ottla.api.fetch.v1.ReadFormat;
import io.ottla.api.fetch.v1.ReadRequest;
import io.ottla.api.fetch.v1.ReadStart;
import io.ottla.api.fetch.v1.ReadUntil;
import io.ottla.api.produce.v1.Acks;
import io.ottla.api.produce.v1.ProduceServiceGrpc;
import io.ottla.api.produce.v1.PublishRequest;
import io.ottla.api.record.v1.PlainRecord;
import java.io.File;
import java.io.IOException;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.stream.IntStream;
import java.util.zip.CRC32;

/**
 * Records to Ottla and back, on stubs that protoc generated and nothing of Ottla's own.
 *
 * <pre>RoundTrip ADDRESS [RECORDS [CA-FILE]]</pre>
 */
public final class RoundTrip {
  private static final int PARTITIONS = 4;
  // A call carries 1 MiB and 30,000 records at most; a thousand of these are some 120 kB.
  private static final int RECORDS_PER_CALL = 1000;
  // No call takes longer than a minute.
  private static final Map<String, ?> SERVICE_CONFIG =
      Map.of("methodConfig", List.of(Map.of("name", List.of(Map.of()), "timeout", "60s")));

  /** How many records were read, and the checksums of what was sent and read. */
  private record Sums(int records, long sent, long read) {
    Sums and(Sums other) {
      return new Sums(records + other.records, sent ^ other.sent, read ^ other.read);
    }
  }

  private static ChannelCredentials credentials(String authority) throws IOException {
    return authority == null
        ? InsecureChannelCredentials.create()
        : TlsChannelCredentials.newBuilder().trustManager(new File(authority)).build();
  }

  /** One in 101 has no value, which is not the same as an empty one. */
  private static PlainRecord record(int number) {
    var record = PlainRecord.newBuilder().setKey(ByteString.copyFromUtf8("key-" + number % 1000));
    if (number % 101 != 100) {
      var value = "record " + number + " ";
      record.setValue(ByteString.copyFromUtf8(value + ".".repeat(100 - value.length())));
    }
    return record.build();
  }

  private static void add(CRC32 checksum, PlainRecord record) {
    checksum.update(record.getKey().asReadOnlyByteBuffer());
    checksum.update(record.hasValue() ? 1 : 0);
    checksum.update(record.getValue().asReadOnlyByteBuffer());
  }

  /** An answer says of every item what became of it: one may fail while the others succeed. */
  private static void check(boolean failed, Error error) {
    if (failed) {
      throw new IllegalStateException(error.getReason() + ": " + error.getMessage());
    }
  }

  /** Sends a partition its share, in order: a call follows when the last is answered. */
  private static long publish(Channel channel, String topic, int partition, int count) {
    var stub = ProduceServiceGrpc.newBlockingStub(channel);
    var checksum = new CRC32();
    for (int number = partition; number < count; ) {
      var request =
          PublishRequest.newBuilder()
              .setTopic(topic)
              .setPartition(partition)
              .setAcks(Acks.ACKS_ALL);
      for (; number < count && request.getRecordsCount() < RECORDS_PER_CALL; number += PARTITIONS) {
        var record = record(number);
        add(checksum, record);
        request.addRecords(record);
      }
      stub.publish(request.build())
          .getResultsList()
          .forEach(result -> check(result.hasError(), result.getError()));
    }
    return checksum.getValue();
  }

  /** Reads a partition from its first record to the end that it has when the call begins. */
  private static Sums read(Channel channel, String topic, int partition) {
    var request =
        ReadRequest.newBuilder()
            .setTopic(topic)
            .setPartition(partition)
            .setStart(ReadStart.newBuilder().setPosition(OffsetPosition.OFFSET_POSITION_EARLIEST))
            .setUntil(
                ReadUntil.newBuilder()
                    .setHighWatermarkAtStart(HighWatermarkAtStart.getDefaultInstance()))
            .setFormat(ReadFormat.READ_FORMAT_RECORDS)
            .build();
    var checksum = new CRC32();
    int records = 0;
    var answers = FetchServiceGrpc.newBlockingStub(channel).read(request);
    while (answers.hasNext()) {
      for (PlainRecord record : answers.next().getRecordsList()) {
        add(checksum, record);
        records++;
      }
    }
    return new Sums(records, 0, checksum.getValue());
  }

  /** The reason of a call that failed: what a program decides on, where the text is for people. */
  private static String reason(StatusRuntimeException failed)
      throws InvalidProtocolBufferException {
    for (Any detail : StatusProto.fromThrowable(failed).getDetailsList()) {
      if (detail.is(ErrorInfo.class)) {
        var info = detail.unpack(ErrorInfo.class);
        return info.getDomain().equals("ottla") ? info.getReason() : "";
      }
    }
    return "";
  }

  private static String reasonOfReading(Channel channel, String topic)
      throws InvalidProtocolBufferException {
    try {
      read(channel, topic, 0);
      return "";
    } catch (StatusRuntimeException failed) {
      return reason(failed);
    }
  }

  /** Writes and reads all partitions at once. */
  private static Sums roundTrip(Channel channel, String topic, int count) {
    var threads = Executors.newFixedThreadPool(PARTITIONS);
    try {
      List<CompletableFuture<Sums>> parts =
          IntStream.range(0, PARTITIONS)
              .mapToObj(
                  partition ->
                      CompletableFuture.supplyAsync(
                          () ->
                              new Sums(0, publish(channel, topic, partition, count), 0)
                                  .and(read(channel, topic, partition)),
                          threads))
              .toList();
      return parts.stream().map(CompletableFuture::join).reduce(new Sums(0, 0, 0), Sums::and);
    } finally {
      threads.shutdownNow();
    }
  }

  public static void main(String[] arguments) throws Exception {
    if (arguments.length == 0) {
      throw new IllegalArgumentException("RoundTrip ADDRESS [RECORDS [CA-FILE]]");
    }
    int count = arguments.length > 1 ? Integer.parseInt(arguments[1]) : 100_000;
    var security = credentials(arguments.length > 2 ? arguments[2] : null);
    var channel =
        Grpc.newChannelBuilder(arguments[0], security)
            .defaultServiceConfig(SERVICE_CONFIG)
            .build();
    var admin = AdminServiceGrpc.newBlockingStub(channel);
    var topic = "round-trip.java." + System.currentTimeMillis();
    var wanted = NewTopic.newBuilder().setName(topic).setPartitionCount(PARTITIONS);
    admin
        .createTopics(CreateTopicsRequest.newBuilder().addTopics(wanted).build())
        .getResultsList()
        .forEach(result -> check(result.hasError(), result.getError()));

    long started = System.nanoTime();
    var sums = roundTrip(channel, topic, count);
    double seconds = (System.nanoTime() - started) / 1e9;

    var reason = reasonOfReading(channel, "java.nowhere");
    var unwanted = TopicRef.newBuilder().setName(topic);
    admin
        .deleteTopics(DeleteTopicsRequest.newBuilder().addTopics(unwanted).build())
        .getResultsList()
        .forEach(result -> check(result.hasError(), result.getError()));
    channel.shutdownNow();
    System.out.printf(
        Locale.ROOT,
        """
        {"language": "java", "records": %d, "sent": "%08x", "read": "%08x", \
        "reason": "%s", "seconds": %.3f}
        """,
        sums.records(), sums.sent(), sums.read(), reason, seconds);
    if (sums.records() != count || sums.sent() != sums.read()) {
      throw new IllegalStateException("what was read is not what was sent");
    }
  }
}
