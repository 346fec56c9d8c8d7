// Records to Ottla and back, on stubs that protoc-gen-go generated and nothing of Ottla's own.
//
//	round-trip ADDRESS [RECORDS [CA-FILE]]
package main

import (
	"cmp"
	"context"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	adminv1 "github.com/ottla/ottla/clients/go/ottla/api/admin/v1"
	errorv1 "github.com/ottla/ottla/clients/go/ottla/api/error/v1"
	fetchv1 "github.com/ottla/ottla/clients/go/ottla/api/fetch/v1"
	producev1 "github.com/ottla/ottla/clients/go/ottla/api/produce/v1"
	recordv1 "github.com/ottla/ottla/clients/go/ottla/api/record/v1"
)

const (
	partitionCount = 4
	// A call carries 1 MiB and 30,000 records at most; a thousand of these are some 120 kB.
	recordsPerCall = 1000
)

func connect(address, authority string) *grpc.ClientConn {
	transport := insecure.NewCredentials()
	if authority != "" {
		var err error
		if transport, err = credentials.NewClientTLSFromFile(authority, ""); err != nil {
			log.Fatal(err)
		}
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(transport))
	if err != nil {
		log.Fatal(err)
	}
	return conn
}

// Record number: one in 101 has no value, which is not the same as an empty one.
func record(number int) *recordv1.PlainRecord {
	key := fmt.Sprintf("key-%d", number%1000)
	if number%101 == 100 {
		return &recordv1.PlainRecord{Key: []byte(key)}
	}
	value := fmt.Sprintf("record %d ", number)
	value += strings.Repeat(".", 100-len(value))
	return &recordv1.PlainRecord{Key: []byte(key), Value: []byte(value)}
}

func add(checksum hash.Hash32, record *recordv1.PlainRecord) {
	checksum.Write(record.Key)
	if record.Value == nil {
		checksum.Write([]byte{0})
	} else {
		checksum.Write([]byte{1})
		checksum.Write(record.Value)
	}
}

// Answers say of every item what became of it: one may fail while the others succeed.
func check[Result interface{ GetError() *errorv1.Error }](results []Result, err error) {
	if err != nil {
		log.Fatal(err)
	}
	for _, result := range results {
		if failed := result.GetError(); failed != nil {
			log.Fatalf("%v: %s", failed.Reason, failed.Message)
		}
	}
}

// Sends a partition its share of the records, in order: a call follows when the last is answered.
func publish(
	ctx context.Context, conn *grpc.ClientConn, topic string, partition, count int,
) uint32 {
	client, checksum := producev1.NewProduceServiceClient(conn), crc32.NewIEEE()
	for number := partition; number < count; {
		request := &producev1.PublishRequest{
			Topic: topic, Partition: proto.Uint32(uint32(partition)), Acks: producev1.Acks_ACKS_ALL,
		}
		for ; number < count && len(request.Records) < recordsPerCall; number += partitionCount {
			sent := record(number)
			add(checksum, sent)
			request.Records = append(request.Records, sent)
		}
		answer, err := client.Publish(ctx, request)
		check(answer.GetResults(), err)
	}
	return checksum.Sum32()
}

// Reads a partition from its first record to the end that it has when the call begins.
func read(
	ctx context.Context, conn *grpc.ClientConn, topic string, partition int,
) (count int, sum uint32, err error) {
	earliest := fetchv1.OffsetPosition_OFFSET_POSITION_EARLIEST
	answers, err := fetchv1.NewFetchServiceClient(conn).Read(ctx, &fetchv1.ReadRequest{
		Topic:     topic,
		Partition: uint32(partition),
		Start:     &fetchv1.ReadStart{Start: &fetchv1.ReadStart_Position{Position: earliest}},
		Until:     &fetchv1.ReadUntil{Until: &fetchv1.ReadUntil_HighWatermarkAtStart{}},
		Format:    fetchv1.ReadFormat_READ_FORMAT_RECORDS,
	})
	if err != nil {
		return 0, 0, err
	}
	checksum := crc32.NewIEEE()
	for {
		answer, err := answers.Recv()
		if err == io.EOF {
			return count, checksum.Sum32(), nil
		}
		if err != nil {
			return 0, 0, err
		}
		for _, found := range answer.Records {
			add(checksum, found)
			count++
		}
	}
}

// The reason of a call that failed: what a program decides on, where the text is for people.
func reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, found := detail.(*errdetails.ErrorInfo); found && info.Domain == "ottla" {
			return info.Reason
		}
	}
	return ""
}

func main() {
	log.SetFlags(0)
	arguments := append(os.Args[1:], "", "", "")
	if arguments[0] == "" {
		log.Fatal("round-trip ADDRESS [RECORDS [CA-FILE]]")
	}
	count, err := strconv.Atoi(cmp.Or(arguments[1], "100000"))
	if err != nil {
		log.Fatal(err)
	}
	conn := connect(arguments[0], arguments[2])
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	admin := adminv1.NewAdminServiceClient(conn)
	topic := fmt.Sprintf("round-trip.go.%d", time.Now().UnixMilli())
	created, err := admin.CreateTopics(ctx, &adminv1.CreateTopicsRequest{
		Topics: []*adminv1.NewTopic{{Name: topic, PartitionCount: partitionCount}},
	})
	check(created.GetResults(), err)

	started := time.Now()
	var counts [partitionCount]int
	var sums [partitionCount]struct{ sent, read uint32 }
	var partitions sync.WaitGroup
	for each := range partitionCount {
		partitions.Go(func() {
			var err error
			sums[each].sent = publish(ctx, conn, topic, each, count)
			if counts[each], sums[each].read, err = read(ctx, conn, topic, each); err != nil {
				log.Fatal(err)
			}
		})
	}
	partitions.Wait()
	seconds := time.Since(started).Seconds()
	var records int
	var sent, found uint32
	for each := range partitionCount {
		records, sent, found = records+counts[each], sent^sums[each].sent, found^sums[each].read
	}

	_, _, refused := read(ctx, conn, "go.nowhere", 0)
	deleted, err := admin.DeleteTopics(ctx, &adminv1.DeleteTopicsRequest{
		Topics: []*adminv1.TopicRef{{Name: topic}},
	})
	check(deleted.GetResults(), err)
	fmt.Printf(
		`{"language": "go", "records": %d, "sent": "%08x", "read": "%08x", `+
			`"reason": "%s", "seconds": %.3f}`+"\n",
		records, sent, found, reason(refused), seconds,
	)
	if records != count || sent != found {
		log.Fatal("what was read is not what was sent")
	}
}
