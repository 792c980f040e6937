// Command send sends a sign-in code through smtpconnector and says what to do when that fails.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"math"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	smtpconnectorv1 "example.com/send/gen/smtpconnector/v1"
)

//go:generate buf generate ../../protos

// The exit codes.
const (
	refused   = 1 // not sent, and the same call fails again
	usage     = 2
	uncertain = 3 // perhaps sent
	tryLater  = 4 // not sent
)

// UNAVAILABLE is the one code that means "not sent, try again".
const serviceConfig = `{
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [{
    "name": [{"service": "smtpconnector.v1.ConnectorService"}],
    "retryPolicy": {
      "maxAttempts": 5,
      "initialBackoff": "0.3s",
      "maxBackoff": "3s",
      "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }]
}`

func main() {
	target := flag.String("target", "", "`HOST:PORT` of the service")
	tlsCA := flag.String("tls-ca", "", "`FILE` with the authority (PEM) that vouches for the service")
	token := flag.String("token", "", "`TOKEN` that the service knows this caller by")
	timeout := flag.Float64("timeout", 30, "`SECONDS` that the call may take, retries included")
	to := flag.String("to", "", "`ADDR` of the recipient")
	code := flag.String("code", "", "`CODE` to send")
	flag.Parse()
	if *target == "" || *to == "" || *code == "" || *timeout <= 0 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(usage)
	}

	// A backend makes one connection when it starts and keeps it; it is safe for concurrent use.
	conn, err := connect(*target, *tlsCA)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(usage)
	}
	defer conn.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(*timeout*float64(time.Second)))
	defer cancel()
	if *token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+*token)
	}
	request := &smtpconnectorv1.SendMessageRequest{
		To:      *to,
		Type:    "SignIn",
		Payload: &structpb.Struct{Fields: map[string]*structpb.Value{"code": structpb.NewStringValue(*code)}},
	}
	var server peer.Peer // stays empty if the call never got a connection
	sent, err := smtpconnectorv1.NewConnectorServiceClient(conn).SendMessage(ctx, request, grpc.Peer(&server))
	if err != nil {
		text, exitCode := explain(err, *target, server.Addr != nil)
		fmt.Fprintln(os.Stderr, text)
		os.Exit(exitCode)
	}
	fmt.Printf("Accepted by %s: %d %s\n", sent.GetHost(), sent.GetReply().GetCode(), sent.GetReply().GetText())
	fmt.Printf("Message-ID: %s\n", sent.GetMessageId())
}

// connect speaks TLS to every machine but this one. It does not wait for the connection.
func connect(target, tlsCA string) (*grpc.ClientConn, error) {
	transport := credentials.NewTLS(&tls.Config{})
	if tlsCA != "" {
		pem, err := os.ReadFile(tlsCA)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, errors.New(tlsCA + " holds no certificate")
		}
		transport = credentials.NewTLS(&tls.Config{RootCAs: roots})
	} else if isThisMachine(target) {
		transport = insecure.NewCredentials()
	}
	return grpc.NewClient(target,
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(serviceConfig),
		// The server allows a ping each 30 s. Without pings a NAT forgets a connection that is seldom used.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 60 * time.Second, Timeout: 20 * time.Second, PermitWithoutStream: true,
		}),
	)
}

func isThisMachine(target string) bool {
	host, _, err := net.SplitHostPort(target)
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

// explain says what happened to the mail and what a person should do, and returns the exit code for it.
func explain(err error, target string, connected bool) (string, int) {
	failed := status.Convert(err)
	message := failed.Message()
	if _, last, found := strings.Cut(message, "rpc error: code = Unavailable desc = "); found {
		message = last // without Go's own words on how often it tried
	}

	var info *errdetails.ErrorInfo
	var violations strings.Builder
	soon := "soon"
	for _, detail := range failed.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == "smtpconnector.v1" {
				info = detail
			}
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				if !strings.Contains(message, violation.GetDescription()) {
					fmt.Fprintf(&violations, "\n  %s: %s", violation.GetField(), violation.GetDescription())
				}
			}
		case *errdetails.RetryInfo:
			soon = fmt.Sprintf("in %.0f s", math.Ceil(detail.GetRetryDelay().AsDuration().Seconds()))
		}
	}
	if info == nil {
		return explainNoAnswer(failed.Code(), message, target, connected)
	}

	what := fmt.Sprintf("%s [%s]%s", message, info.GetReason(), violations.String())
	if info.GetMetadata()["outcome"] == "UNKNOWN" {
		return perhapsSent(what)
	}
	switch failed.Code() {
	case codes.Unavailable, codes.ResourceExhausted:
		return notSent(what, "try again "+soon+".", tryLater)
	case codes.DeadlineExceeded, codes.Canceled:
		return notSent(what, "try again, with a longer --timeout.", tryLater)
	case codes.InvalidArgument:
		return notSent(what, "correct the request; the same one fails again.", refused)
	case codes.Unauthenticated:
		return notSent(what, "give a valid --token; whoever runs the service can tell you one.", refused)
	default:
		return notSent(what, "ask whoever runs the service to mend it; the same request fails again until then.", refused)
	}
}

// explainNoAnswer explains what does not come from the service but from gRPC, or from something in between.
func explainNoAnswer(code codes.Code, message, target string, connected bool) (string, int) {
	what := fmt.Sprintf("%s [%s]", message, code)
	isUnreached := !connected && (code == codes.Unavailable || code == codes.DeadlineExceeded)
	switch {
	case isUnreached:
		return notSent("cannot reach "+target+": "+what,
			"check --target and --tls-ca, and that the service runs; then try again.", tryLater)
	case !connected, code == codes.Unauthenticated, code == codes.PermissionDenied,
		code == codes.ResourceExhausted, code == codes.Unimplemented:
		return notSent("refused before it reached the service: "+what, "check --target and --token.", refused)
	default:
		return perhapsSent("no answer from " + target + ": " + what)
	}
}

func notSent(what, todo string, exitCode int) (string, int) {
	return "Not sent: " + what + "\nWhat to do: " + todo, exitCode
}

func perhapsSent(what string) (string, int) {
	return "Perhaps sent: " + what + "\nWhat to do: ask the recipient whether it came before you send again; " +
		"a second try may send it twice.", uncertain
}
