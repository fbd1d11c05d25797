// A client of Foundation Models on the official Go SDK: it completes a text, streams one, and defers one and waits for it.
// In production and against the emulator it is the same program; only its environment differs:
//
//	YC_FOLDER_ID     the folder to work in
//	YC_IAM_TOKEN     a token; for the emulator any will do
//	YC_API_ENDPOINT  where the SDK asks for the services' addresses; api.cloud.yandex.net:443 unless given
//	YC_PLAINTEXT     `yes` calls YC_API_ENDPOINT itself, without TLS
//	SSL_CERT_FILE    the certificates to trust, for the emulator's own
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	fm "github.com/yandex-cloud/go-genproto/yandex/cloud/ai/foundation_models/v1"
	text "github.com/yandex-cloud/go-genproto/yandex/cloud/ai/foundation_models/v1/text_generation"
	operations "github.com/yandex-cloud/go-genproto/yandex/cloud/operation"
	ycsdk "github.com/yandex-cloud/go-sdk/v2"
	"github.com/yandex-cloud/go-sdk/v2/credentials"
	"github.com/yandex-cloud/go-sdk/v2/pkg/endpoints"
	"github.com/yandex-cloud/go-sdk/v2/pkg/operation"
	"github.com/yandex-cloud/go-sdk/v2/pkg/options"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const patience = time.Minute

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := run(ctx, strings.Join(os.Args[1:], " ")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, question string) error {
	sdk, err := ycsdk.Build(ctx, settings()...)
	if err != nil {
		return err
	}
	defer sdk.Shutdown(ctx)

	if err := complete(ctx, sdk, question); err != nil {
		return fmt.Errorf("completion: %w", err)
	}
	if err := stream(ctx, sdk, question); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	if err := deferred(ctx, sdk, question); err != nil {
		return fmt.Errorf("deferred: %w", err)
	}
	return nil
}

func settings() []options.Option {
	chosen := []options.Option{options.WithCredentials(credentials.IAMToken(os.Getenv("YC_IAM_TOKEN")))}
	endpoint := os.Getenv("YC_API_ENDPOINT")
	switch {
	case os.Getenv("YC_PLAINTEXT") == "yes":
		// The SDK discovers addresses over TLS only, so without it there is one address for everything.
		everything := endpoints.PrefixToEndpoint{"yandex": endpoints.NewEndpointParams(endpoint, endpoints.Plaintext())}
		return append(chosen, options.WithEndpointsResolver(endpoints.NewPrefixEndpointsResolver(everything)))
	case endpoint != "":
		return append(chosen, options.WithDiscoveryEndpoint(endpoint))
	}
	return chosen
}

// complete asks for the whole answer at once.
func complete(ctx context.Context, sdk *ycsdk.SDK, question string) error {
	connection, err := sdk.GetConnection(ctx, "yandex.cloud.ai.foundation_models.v1.TextGenerationService.Completion")
	if err != nil {
		return err
	}
	answers, err := text.NewTextGenerationServiceClient(connection).Completion(ctx, request(question, false))
	if err != nil {
		return err
	}
	answer, err := answers.Recv()
	if err != nil {
		return err
	}
	fmt.Printf("completion: %s (%d tokens)\n", textOf(answer), answer.Usage.TotalTokens)
	return nil
}

// stream asks for the answer as it grows: every message holds all the text so far.
func stream(ctx context.Context, sdk *ycsdk.SDK, question string) error {
	connection, err := sdk.GetConnection(ctx, "yandex.cloud.ai.foundation_models.v1.TextGenerationService.Completion")
	if err != nil {
		return err
	}
	answers, err := text.NewTextGenerationServiceClient(connection).Completion(ctx, request(question, true))
	if err != nil {
		return err
	}
	for {
		answer, err := answers.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Printf("stream: %s [%s]\n", textOf(answer), statusOf(answer))
	}
}

// deferred asks for an operation, which the SDK polls every second until it is done.
func deferred(ctx context.Context, sdk *ycsdk.SDK, question string) error {
	connection, err := sdk.GetConnection(ctx, "yandex.cloud.ai.foundation_models.v1.TextGenerationAsyncService.Completion")
	if err != nil {
		return err
	}
	begun, err := text.NewTextGenerationAsyncServiceClient(connection).Completion(ctx, request(question, false))
	if err != nil {
		return err
	}
	// Deferred completions have no metadata, and the SDK would reject an operation that had some.
	awaited, err := operation.NewOperation(begun, &operation.Concretization{
		Poll: func(ctx context.Context, id string, opts ...grpc.CallOption) (operation.YCOperation, error) {
			connection, err := sdk.GetConnection(ctx, "yandex.cloud.operation.OperationService.Get")
			if err != nil {
				return nil, err
			}
			request := &operations.GetOperationRequest{OperationId: id}
			return operations.NewOperationServiceClient(connection).Get(ctx, request, opts...)
		},
		ResponseType: &text.CompletionResponse{},
	})
	if err != nil {
		return err
	}
	fmt.Printf("operation: %s, done: %t\n", awaited.Description(), awaited.Done())
	response, err := awaited.Wait(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("deferred: %s\n", textOf(response.(*text.CompletionResponse)))
	return nil
}

func request(question string, stream bool) *text.CompletionRequest {
	return &text.CompletionRequest{
		ModelUri: fmt.Sprintf("gpt://%s/yandexgpt/latest", os.Getenv("YC_FOLDER_ID")),
		CompletionOptions: &fm.CompletionOptions{
			Stream:      stream,
			Temperature: wrapperspb.Double(0.3),
			MaxTokens:   wrapperspb.Int64(500),
		},
		Messages: []*fm.Message{{Role: "user", Content: &fm.Message_Text{Text: question}}},
	}
}

func textOf(answer *text.CompletionResponse) string {
	return answer.Alternatives[0].Message.GetText()
}

func statusOf(answer *text.CompletionResponse) string {
	return strings.TrimPrefix(answer.Alternatives[0].Status.String(), "ALTERNATIVE_STATUS_")
}
