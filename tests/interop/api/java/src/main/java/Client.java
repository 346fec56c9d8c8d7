import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.rpc.ErrorInfo;
import io.grpc.Channel;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.ottla.api.admin.v1.AdminServiceGrpc;
import io.ottla.api.admin.v1.CreateTopicsRequest;
import io.ottla.api.admin.v1.NewTopic;
import io.ottla.api.error.v1.ErrorReason;
import io.ottla.api.fetch.v1.FetchServiceGrpc;
import io.ottla.api.fetch.v1.HighWatermarkAtStart;
import io.ottla.api.fetch.v1.ListOffsetsRequest;
import io.ottla.api.fetch.v1.OffsetPosition;
import io.ottla.api.fetch.v1.OffsetQuery;
import io.ottla.api.fetch.v1.ReadRequest;
import io.ottla.api.fetch.v1.ReadStart;
import io.ottla.api.fetch.v1.ReadUntil;
import io.ottla.api.produce.v1.Acks;
import io.ottla.api.produce.v1.ProduceServiceGrpc;
import io.ottla.api.produce.v1.PublishRequest;
import io.ottla.api.record.v1.Header;
import io.ottla.api.record.v1.PlainRecord;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;

/**
 * A Java program on generated stubs of ottla.api and nothing else of Ottla: one scenario a run, its
 * outcome as JSON.
 *
 * <pre>java Client ADDRESS SCENARIO</pre>
 */
public final class Client {
  private static List<PlainRecord> readToEnd(Channel channel, String topic) {
    var request =
        ReadRequest.newBuilder()
            .setTopic(topic)
            .setStart(ReadStart.newBuilder().setPosition(OffsetPosition.OFFSET_POSITION_EARLIEST))
            .setUntil(
                ReadUntil.newBuilder()
                    .setHighWatermarkAtStart(HighWatermarkAtStart.getDefaultInstance()))
            .build();
    var records = new ArrayList<PlainRecord>();
    FetchServiceGrpc.newBlockingStub(channel)
        .read(request)
        .forEachRemaining(answer -> records.addAll(answer.getRecordsList()));
    return records;
  }

  private static String walk(Channel channel) {
    var topic = "java.walk";
    var created =
        AdminServiceGrpc.newBlockingStub(channel)
            .createTopics(
                CreateTopicsRequest.newBuilder()
                    .addTopics(NewTopic.newBuilder().setName(topic).setPartitionCount(2))
                    .build());
    var published =
        ProduceServiceGrpc.newBlockingStub(channel)
            .publish(
                PublishRequest.newBuilder()
                    .setTopic(topic)
                    .setPartition(0)
                    .setAcks(Acks.ACKS_ALL)
                    .addRecords(
                        PlainRecord.newBuilder()
                            .setKey(ByteString.copyFromUtf8("UA"))
                            .setValue(ByteString.copyFromUtf8("EWR-IAH")))
                    .addRecords(
                        PlainRecord.newBuilder()
                            .setKey(ByteString.copyFromUtf8("AA"))
                            .addHeaders(
                                Header.newBuilder().setKey("gone").setValue(ByteString.EMPTY)))
                    .build());
    var offsets =
        published.getResultsList().stream()
            .filter(result -> result.hasOffset())
            .map(result -> Long.toString(result.getOffset()))
            .collect(Collectors.joining(", "));
    var records =
        readToEnd(channel, topic).stream().map(Client::shown).collect(Collectors.joining(", "));
    return String.format(
        "{\"partitions\": %d, \"offsets\": [%s], \"records\": [%s]}",
        created.getResults(0).getPartitionCount(), offsets, records);
  }

  private static String shown(PlainRecord record) {
    return String.format(
        "{\"offset\": %d, \"key\": \"%s\", \"value\": \"%s\", \"tombstone\": %b, \"headers\": %d}",
        record.getOffset(),
        record.getKey().toStringUtf8(),
        record.getValue().toStringUtf8(),
        !record.hasValue(),
        record.getHeadersCount());
  }

  private static String failures(Channel channel) throws Exception {
    var topic = "java.nowhere";
    var call = "null";
    try {
      readToEnd(channel, topic);
    } catch (StatusRuntimeException error) {
      for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          var info = detail.unpack(ErrorInfo.class);
          call =
              String.format(
                  "{\"code\": \"%s\", \"reason\": \"%s\", \"domain\": \"%s\", \"topic\": \"%s\"}",
                  error.getStatus().getCode(),
                  info.getReason(),
                  info.getDomain(),
                  info.getMetadataOrDefault("topic", ""));
        }
      }
    }
    var listed =
        FetchServiceGrpc.newBlockingStub(channel)
            .listOffsets(
                ListOffsetsRequest.newBuilder()
                    .addQueries(
                        OffsetQuery.newBuilder()
                            .setTopic(topic)
                            .setPosition(OffsetPosition.OFFSET_POSITION_LATEST))
                    .build());
    var reason = listed.getResults(0).getError().getReason();
    return String.format(
        "{\"call\": %s, \"item\": \"%s\", \"known\": %b}",
        call, reason, reason == ErrorReason.ERROR_REASON_UNKNOWN_TOPIC_OR_PARTITION);
  }

  public static void main(String[] arguments) throws Exception {
    ManagedChannel channel =
        Grpc.newChannelBuilder(arguments[0], InsecureChannelCredentials.create()).build();
    try {
      System.out.println(arguments[1].equals("walk") ? walk(channel) : failures(channel));
    } finally {
      channel.shutdownNow();
    }
  }
}
