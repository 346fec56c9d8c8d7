// The streams of full clients on the stubs of clients/go: batches of the program's own making go in
// and out. What came of it is printed as JSON.
//
//	streams ADDRESS
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/ottla/ottla/clients/go/ottla/api/admin/v1"
	fetchv1 "github.com/ottla/ottla/clients/go/ottla/api/fetch/v1"
	metadatav1 "github.com/ottla/ottla/clients/go/ottla/api/metadata/v1"
	producev1 "github.com/ottla/ottla/clients/go/ottla/api/produce/v1"
	recordv1 "github.com/ottla/ottla/clients/go/ottla/api/record/v1"
)

type outcome map[string]any

func createTopic(
	ctx context.Context, conn *grpc.ClientConn, topic string,
) (*adminv1.CreateTopicResult, error) {
	answer, err := adminv1.NewAdminServiceClient(conn).CreateTopics(ctx, &adminv1.CreateTopicsRequest{
		Topics: []*adminv1.NewTopic{{Name: topic, PartitionCount: 2}},
	})
	if err != nil {
		return nil, err
	}
	result := answer.GetResults()[0]
	if result.GetError() != nil {
		return nil, fmt.Errorf("not created: %v", result.GetError())
	}
	return result, nil
}

// A batch in, the same batch out.
func streams(ctx context.Context, conn *grpc.ClientConn) (outcome, error) {
	const topic = "go.streams"
	created, err := createTopic(ctx, conn, topic)
	if err != nil {
		return nil, err
	}
	described, err := metadatav1.NewMetadataServiceClient(conn).GetMetadata(
		ctx, &metadatav1.GetMetadataRequest{Topics: []string{topic}},
	)
	if err != nil {
		return nil, err
	}
	leader := described.GetTopics()[0].GetPartitions()[0]
	produced, err := produceTwice(ctx, conn, &producev1.ProduceRequest{
		Topic:       topic,
		TopicId:     created.GetTopicId(),
		LeaderEpoch: proto.Uint32(leader.GetLeaderEpoch()),
	})
	if err != nil {
		return nil, err
	}
	fetched, err := fetchAll(ctx, conn, &fetchv1.Subscribe{
		SubscriptionId: 7,
		Topic:          topic,
		TopicId:        created.GetTopicId(),
		Start:          &fetchv1.ReadStart{Start: &fetchv1.ReadStart_Offset{Offset: 0}},
	})
	if err != nil {
		return nil, err
	}
	return outcome{"answers": produced, "fetched": fetched, "leader": leader.LeaderId != nil}, nil
}

// Two batches in flight before the first answer. The second is sent to a partition that isn't.
func produceTwice(
	ctx context.Context, conn *grpc.ClientConn, request *producev1.ProduceRequest,
) (outcome, error) {
	stream, err := producev1.NewProduceServiceClient(conn).Produce(ctx)
	if err != nil {
		return nil, err
	}
	batch, err := plainBatch("first", "second", "third")
	if err != nil {
		return nil, err
	}
	request.Batches = []*recordv1.RecordBatch{batch}
	for correlation, partition := range map[uint64]uint32{11: 0, 12: 99} {
		request.CorrelationId, request.Partition = correlation, partition
		if err := stream.Send(request); err != nil {
			return nil, err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	answers := outcome{}
	for {
		answer, err := stream.Recv()
		if err == io.EOF {
			return answers, nil
		}
		if err != nil {
			return nil, err
		}
		if answer.GetHeartbeat() {
			continue
		}
		said := any(answer.GetBaseOffset())
		if answer.GetError() != nil {
			said = answer.GetError().GetReason().String()
		}
		answers[fmt.Sprint(answer.GetCorrelationId())] = said
	}
}

// A batch whose checksums and canonical encoding are left to the broker.
func plainBatch(values ...string) (*recordv1.RecordBatch, error) {
	records := &recordv1.Records{}
	for number, value := range values {
		records.Records = append(records.Records, &recordv1.Record{
			OffsetDelta: int32(number), Value: []byte(value),
		})
	}
	encoded, err := proto.Marshal(records)
	if err != nil {
		return nil, err
	}
	now := time.Now().UnixMilli()
	return &recordv1.RecordBatch{
		Attributes:      proto.Uint32(1 << 8),
		LastOffsetDelta: proto.Uint32(uint32(len(values) - 1)),
		RecordCount:     proto.Uint32(uint32(len(values))),
		BaseTimestampMs: proto.Int64(now),
		MaxTimestampMs:  proto.Int64(now),
		Records:         encoded,
	}, nil
}

func fetchAll(
	ctx context.Context, conn *grpc.ClientConn, subscribe *fetchv1.Subscribe,
) ([]string, error) {
	stream, err := fetchv1.NewFetchServiceClient(conn).Fetch(ctx)
	if err != nil {
		return nil, err
	}
	for _, request := range []*fetchv1.FetchRequest{
		{Kind: &fetchv1.FetchRequest_Open{Open: &fetchv1.OpenSession{}}},
		{Kind: &fetchv1.FetchRequest_Subscribe{Subscribe: subscribe}},
		{Kind: &fetchv1.FetchRequest_Credit{Credit: &fetchv1.GrantCredit{SizeBytes: 1 << 20}}},
	} {
		if err := stream.Send(request); err != nil {
			return nil, err
		}
	}
	values := []string{}
	for {
		answer, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		if ended := answer.GetEnded(); ended != nil {
			return nil, fmt.Errorf("subscription ended: %v", ended.GetError())
		}
		for _, batch := range answer.GetBatches() {
			records := &recordv1.Records{}
			if err := proto.Unmarshal(batch.GetRecords(), records); err != nil {
				return nil, err
			}
			for _, record := range records.GetRecords() {
				offset := int64(batch.GetBaseOffset()) + int64(record.GetOffsetDelta())
				values = append(values, fmt.Sprintf("%d:%s", offset, record.GetValue()))
			}
		}
		if len(values) > 0 && answer.GetNextOffset() == answer.GetHighWatermark() {
			return values, stream.CloseSend()
		}
	}
}

func main() {
	log.SetFlags(0)
	conn, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	found, err := streams(ctx, conn)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		log.Fatal(err)
	}
}
