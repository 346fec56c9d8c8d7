// Stock grpc-go against the broker's gRPC server: one scenario a run, its outcome as JSON.
//
//	client ADDRESS SCENARIO [AUTHORITY]
//
// With AUTHORITY, a file of PEM certificates, the connection is TLS. Messages are bytes as they are.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const mib = 1 << 20

type outcome map[string]any

type rawCodec struct{}

func (rawCodec) Marshal(value any) ([]byte, error)      { return *value.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, value any) error { *value.(*[]byte) = data; return nil }
func (rawCodec) Name() string                           { return "proto" }

func path(method string) string { return "/interop.v1.InteropService/" + method }

func connect(address, authority string) (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	if authority != "" {
		var err error
		if transport, err = credentials.NewClientTLSFromFile(authority, ""); err != nil {
			return nil, err
		}
	}
	return grpc.NewClient(
		"passthrough:///"+address,
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})),
	)
}

func own(pairs metadata.MD) map[string][]string {
	found := map[string][]string{}
	for key, values := range pairs {
		if !strings.HasPrefix(key, "x-") {
			continue
		}
		for _, value := range values {
			if strings.HasSuffix(key, "-bin") {
				value = hex.EncodeToString([]byte(value))
			}
			found[key] = append(found[key], value)
		}
	}
	return found
}

func ended(err error) outcome {
	if errors.Is(err, io.EOF) {
		err = nil
	}
	answered := status.Convert(err)
	return outcome{"code": int(answered.Code()), "details": answered.Message()}
}

func random(size int) []byte {
	data := make([]byte, size)
	if _, err := rand.Read(data); err != nil {
		log.Fatal(err)
	}
	return data
}

func invoke(ctx context.Context, on *grpc.ClientConn, method string, request []byte,
	options ...grpc.CallOption) ([]byte, error) {
	var response []byte
	err := on.Invoke(ctx, path(method), &request, &response, options...)
	return response, err
}

func stream(ctx context.Context, on *grpc.ClientConn, method string, options ...grpc.CallOption,
) grpc.ClientStream {
	description := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	opened, err := on.NewStream(ctx, description, path(method), options...)
	if err != nil {
		log.Fatal(err)
	}
	return opened
}

func send(on grpc.ClientStream, message []byte) {
	if err := on.SendMsg(&message); err != nil {
		log.Fatal(err)
	}
}

func finish(on grpc.ClientStream) {
	if err := on.CloseSend(); err != nil {
		log.Fatal(err)
	}
}

func collect(on grpc.ClientStream, each func([]byte)) error {
	for {
		var message []byte
		if err := on.RecvMsg(&message); err != nil {
			return err
		}
		each(message)
	}
}

func readAll(ctx context.Context, on *grpc.ClientConn, method, request string, each func([]byte)) error {
	opened := stream(ctx, on, method)
	send(opened, []byte(request))
	finish(opened)
	return collect(opened, each)
}

var scenarios = map[string]func(context.Context, *grpc.ClientConn) outcome{
	"unary": func(ctx context.Context, on *grpc.ClientConn) outcome {
		value, err := invoke(ctx, on, "Echo", []byte("hello"))
		return outcome{"code": ended(err)["code"], "value": string(value)}
	},
	"large_unary": func(ctx context.Context, on *grpc.ClientConn) outcome {
		sent := random(4*mib - 16)
		value, err := invoke(ctx, on, "Echo", sent)
		return outcome{"code": ended(err)["code"], "equal": bytes.Equal(value, sent)}
	},
	"too_large": func(ctx context.Context, on *grpc.ClientConn) outcome {
		_, err := invoke(ctx, on, "Echo", make([]byte, 4*mib+1))
		after, _ := invoke(ctx, on, "Echo", []byte("still here"))
		return outcome{"code": ended(err)["code"], "after": string(after)}
	},
	"many": func(ctx context.Context, on *grpc.ClientConn) outcome {
		values := make([]int, 200)
		var calls sync.WaitGroup
		for number := range values {
			calls.Add(1)
			go func() {
				defer calls.Done()
				value, _ := invoke(ctx, on, "Echo", []byte(strconv.Itoa(number)))
				values[number], _ = strconv.Atoi(string(value))
			}()
		}
		calls.Wait()
		return outcome{"values": values}
	},
	"fetch": func(ctx context.Context, on *grpc.ClientConn) outcome {
		hash, sizes := sha256.New(), []int{}
		err := readAll(ctx, on, "Fetch", "24", func(message []byte) {
			sizes = append(sizes, len(message))
			hash.Write(message)
		})
		return outcome{
			"code": ended(err)["code"], "sizes": sizes, "sha256": hex.EncodeToString(hash.Sum(nil)),
		}
	},
	"upload": func(ctx context.Context, on *grpc.ClientConn) outcome {
		hash, opened := sha256.New(), stream(ctx, on, "Digest")
		for number := range 16 {
			message := random(mib - number)
			hash.Write(message)
			send(opened, message)
		}
		finish(opened)
		answer := ""
		if err := collect(opened, func(message []byte) { answer = string(message) }); err != io.EOF {
			log.Fatal(err)
		}
		return outcome{"answer": answer, "sha256": hex.EncodeToString(hash.Sum(nil))}
	},
	"bidi": func(ctx context.Context, on *grpc.ClientConn) outcome {
		opened, values := stream(ctx, on, "EchoStream"), []string{}
		send(opened, []byte("0"))
		err := collect(opened, func(message []byte) {
			values = append(values, string(message))
			if len(values) == 20 {
				finish(opened)
			} else {
				send(opened, []byte(strconv.Itoa(len(values))))
			}
		})
		return outcome{"code": ended(err)["code"], "values": values}
	},
	"error": func(ctx context.Context, on *grpc.ClientConn) outcome {
		var initial, trailing metadata.MD
		_, err := invoke(ctx, on, "Fail", nil, grpc.Header(&initial), grpc.Trailer(&trailing))
		result := ended(err)
		result["initial"], result["trailing"] = own(initial), own(trailing)
		return result
	},
	"error_after_messages": func(ctx context.Context, on *grpc.ClientConn) outcome {
		values := []string{}
		err := readAll(ctx, on, "FailLater", "", func(message []byte) {
			values = append(values, string(message))
		})
		result := ended(err)
		result["values"] = values
		return result
	},
	"drain": func(ctx context.Context, on *grpc.ClientConn) outcome {
		values := []string{}
		err := readAll(ctx, on, "Drain", "", func(message []byte) {
			values = append(values, string(message))
		})
		result := ended(err)
		result["values"] = values
		return result
	},
	"unknown_method": func(ctx context.Context, on *grpc.ClientConn) outcome {
		_, err := invoke(ctx, on, "Nothing", nil)
		return ended(err)
	},
	"metadata": func(ctx context.Context, on *grpc.ClientConn) outcome {
		var initial, trailing metadata.MD
		ctx = metadata.AppendToOutgoingContext(ctx, "x-text", "a", "x-text", "b c",
			"x-raw-bin", "\x00\x01\xfe\xff", "x-raw-bin", "", "x-raw-bin", "\x07")
		_, err := invoke(ctx, on, "Metadata", nil, grpc.Header(&initial), grpc.Trailer(&trailing))
		return outcome{"code": ended(err)["code"], "initial": own(initial), "trailing": own(trailing)}
	},
	"deadline": func(ctx context.Context, on *grpc.ClientConn) outcome {
		// Connected before the clock runs, so that the call gets to the server.
		if _, err := invoke(ctx, on, "Echo", nil); err != nil {
			return outcome{"code": ended(err)["code"]}
		}
		ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		_, err := invoke(ctx, on, "Wait", nil)
		return outcome{"code": ended(err)["code"]}
	},
	"cancel": func(ctx context.Context, on *grpc.ClientConn) outcome {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		err := readAll(ctx, on, "Wait", "", func([]byte) { cancel() })
		return outcome{"code": ended(err)["code"]}
	},
	"compression": func(ctx context.Context, on *grpc.ClientConn) outcome {
		sent := bytes.Repeat([]byte("compressible"), 25000)
		value, err := invoke(ctx, on, "EchoCompressed", sent, grpc.UseCompressor(gzip.Name))
		return outcome{"code": ended(err)["code"], "equal": bytes.Equal(value, sent)}
	},
}

func main() {
	address, scenario, authority := os.Args[1], os.Args[2], ""
	if len(os.Args) > 3 {
		authority = os.Args[3]
	}
	on, err := connect(address, authority)
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	printed, err := json.Marshal(scenarios[scenario](ctx, on))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(printed))
}
