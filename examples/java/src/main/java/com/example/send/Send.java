package com.example.send;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Attributes;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ClientStreamTracer;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import java.io.File;
import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.logging.Level;
import java.util.logging.Logger;
import smtpconnector.v1.ConnectorServiceGrpc;
import smtpconnector.v1.ConnectorServiceGrpc.ConnectorServiceBlockingStub;
import smtpconnector.v1.SendMessageRequest;
import smtpconnector.v1.SendMessageResponse;

/** Sends a sign-in code through smtpconnector and says what to do when that fails. */
public final class Send {
  private static final int REFUSED = 1; // not sent, and the same request fails again
  private static final int USAGE = 2;
  private static final int UNCERTAIN = 3; // perhaps sent
  private static final int TRY_LATER = 4; // not sent

  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  /** gRPC warns, with stack traces, of what its exceptions say too. A field, because loggers are forgotten. */
  private static final Logger GRPC_LOG = Logger.getLogger("io.grpc");

  /** UNAVAILABLE is the one code that means "not sent, try again". */
  private static final Map<String, ?> SERVICE_CONFIG =
      Map.of(
          "loadBalancingConfig", List.of(Map.of("round_robin", Map.of())),
          "methodConfig",
              List.of(
                  Map.of(
                      "name", List.of(Map.of("service", ConnectorServiceGrpc.SERVICE_NAME)),
                      "retryPolicy",
                          Map.of(
                              "maxAttempts", 5.0,
                              "initialBackoff", "0.3s",
                              "maxBackoff", "3s",
                              "backoffMultiplier", 2.0,
                              "retryableStatusCodes", List.of("UNAVAILABLE")))));

  /** What to tell a person, and the exit code for it. */
  private record Explanation(String text, int exitCode) {}

  public static void main(String[] arguments) throws InterruptedException {
    GRPC_LOG.setLevel(Level.SEVERE);
    System.exit(run(arguments));
  }

  private static int run(String[] arguments) throws InterruptedException {
    Options options;
    ManagedChannel channel;
    try {
      options = Options.parse(arguments);
      // A backend makes one channel when it starts and keeps it; threads may share it.
      channel = connect(options);
    } catch (RuntimeException | IOException wrong) {
      System.err.println(wrong.getMessage()); // of an option, or of the file with the authority
      return USAGE;
    }
    var connection = new Connection();
    try {
      SendMessageResponse sent = send(channel, connection, options);
      System.out.printf(
          "Accepted by %s: %d %s%n", sent.getHost(), sent.getReply().getCode(), sent.getReply().getText());
      System.out.printf("Message-ID: %s%n", sent.getMessageId());
      return 0;
    } catch (StatusRuntimeException failed) {
      Explanation explanation = explain(failed, connection.wasMade, options.target());
      System.err.println(explanation.text());
      return explanation.exitCode();
    } finally {
      channel.shutdownNow().awaitTermination(1, TimeUnit.SECONDS);
    }
  }

  /** Speaks TLS to every machine but this one. Does not wait for the connection. */
  private static ManagedChannel connect(Options options) throws IOException {
    ChannelCredentials credentials;
    if (options.tlsCa() != null) {
      credentials = TlsChannelCredentials.newBuilder().trustManager(new File(options.tlsCa())).build();
    } else if (options.target().matches("(localhost|127(\\.\\d+){3}|\\[::1]):\\d+")) {
      credentials = InsecureChannelCredentials.create();
    } else {
      credentials = TlsChannelCredentials.create();
    }
    return Grpc.newChannelBuilder(options.target(), credentials)
        .defaultServiceConfig(SERVICE_CONFIG)
        // The server allows a ping each 30 s. Without pings a NAT forgets a connection that is seldom used.
        .keepAliveTime(60, TimeUnit.SECONDS)
        .keepAliveTimeout(20, TimeUnit.SECONDS)
        .keepAliveWithoutCalls(true)
        .build();
  }

  private static SendMessageResponse send(Channel channel, Connection connection, Options options) {
    ConnectorServiceBlockingStub stub =
        ConnectorServiceGrpc.newBlockingStub(channel)
            .withInterceptors(connection)
            // Of the whole call, retries included.
            .withDeadlineAfter(Math.round(options.seconds() * 1000), TimeUnit.MILLISECONDS);
    if (options.token() != null) {
      var metadata = new Metadata();
      metadata.put(AUTHORIZATION, "Bearer " + options.token());
      stub = stub.withInterceptors(MetadataUtils.newAttachHeadersInterceptor(metadata));
    }
    Value code = Value.newBuilder().setStringValue(options.code()).build();
    return stub.sendMessage(
        SendMessageRequest.newBuilder()
            .setTo(options.to())
            .setType("SignIn")
            .setPayload(Struct.newBuilder().putFields("code", code))
            .build());
  }

  /** Says what happened to the mail and what a person should do. */
  private static Explanation explain(StatusRuntimeException failed, boolean wasConnected, String target) {
    Status status = failed.getStatus();
    Optional<ErrorInfo> info =
        detail(failed, ErrorInfo.class).filter(found -> found.getDomain().equals("smtpconnector.v1"));
    if (info.isEmpty()) {
      return explainNoAnswer(status, wasConnected, target);
    }

    var what = new StringBuilder(status.getDescription() + " [" + info.get().getReason() + "]");
    BadRequest badRequest = detail(failed, BadRequest.class).orElse(BadRequest.getDefaultInstance());
    for (var violation : badRequest.getFieldViolationsList()) {
      if (!what.toString().contains(violation.getDescription())) {
        what.append("%n  %s: %s".formatted(violation.getField(), violation.getDescription()));
      }
    }
    if (info.get().getMetadataOrDefault("outcome", "").equals("UNKNOWN")) {
      return perhapsSent(what.toString());
    }
    return switch (status.getCode()) {
      case UNAVAILABLE, RESOURCE_EXHAUSTED -> {
        String soon = detail(failed, RetryInfo.class).map(Send::inSeconds).orElse("soon");
        yield notSent(what, "try again " + soon + ".", TRY_LATER);
      }
      case DEADLINE_EXCEEDED, CANCELLED -> notSent(what, "try again, with a longer --timeout.", TRY_LATER);
      case INVALID_ARGUMENT -> notSent(what, "correct the request; the same one fails again.", REFUSED);
      case UNAUTHENTICATED ->
          notSent(what, "give a valid --token; whoever runs the service can tell you one.", REFUSED);
      default ->
          notSent(
              what, "ask whoever runs the service to mend it; the same request fails again until then.", REFUSED);
    };
  }

  /** Explains what does not come from the service but from gRPC, or from something in between. */
  private static Explanation explainNoAnswer(Status status, boolean wasConnected, String target) {
    String what = reasonOf(status) + " [" + status.getCode() + "]";
    boolean isUnreached =
        !wasConnected
            && (status.getCode() == Status.Code.UNAVAILABLE || status.getCode() == Status.Code.DEADLINE_EXCEEDED);
    if (isUnreached) {
      return notSent(
          "cannot reach " + target + ": " + what,
          "check --target and --tls-ca, and that the service runs; then try again.",
          TRY_LATER);
    }
    boolean isRefused =
        switch (status.getCode()) {
          case UNAUTHENTICATED, PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNIMPLEMENTED -> true;
          default -> !wasConnected;
        };
    return isRefused
        ? notSent("refused before it reached the service: " + what, "check --target and --token.", REFUSED)
        : perhapsSent("no answer from " + target + ": " + what);
  }

  /** Leaves out Netty's pipeline and the exceptions around the one that happened. */
  private static String reasonOf(Status status) {
    Throwable cause = status.getCause();
    while (cause != null && cause.getCause() != null) {
      cause = cause.getCause();
    }
    String description = String.valueOf(status.getDescription()).lines().findFirst().orElse("");
    return cause == null ? description : description + " (" + cause.getMessage() + ")";
  }

  private static Explanation notSent(CharSequence what, String todo, int exitCode) {
    return new Explanation("Not sent: %s%nWhat to do: %s".formatted(what, todo), exitCode);
  }

  private static Explanation perhapsSent(String what) {
    return new Explanation(
        "Perhaps sent: %s%nWhat to do: ask the recipient whether it came before you send again; ".formatted(what)
            + "a second try may send it twice.",
        UNCERTAIN);
  }

  private static <D extends Message> Optional<D> detail(StatusRuntimeException failed, Class<D> kind) {
    com.google.rpc.Status status = StatusProto.fromThrowable(failed);
    for (Any packed : status == null ? List.<Any>of() : status.getDetailsList()) {
      if (packed.is(kind)) {
        try {
          return Optional.of(packed.unpack(kind));
        } catch (InvalidProtocolBufferException malformed) {
          return Optional.empty();
        }
      }
    }
    return Optional.empty();
  }

  private static String inSeconds(RetryInfo info) {
    double seconds = info.getRetryDelay().getSeconds() + info.getRetryDelay().getNanos() / 1e9;
    return "in %.0f s".formatted(Math.ceil(seconds));
  }

  /** Notes whether a call ever got a connection: without one, nothing was sent. */
  private static final class Connection extends ClientStreamTracer.Factory implements ClientInterceptor {
    volatile boolean wasMade;

    @Override
    public <Q, A> ClientCall<Q, A> interceptCall(MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
      return next.newCall(method, options.withStreamTracerFactory(this));
    }

    @Override
    public ClientStreamTracer newClientStreamTracer(ClientStreamTracer.StreamInfo info, Metadata headers) {
      return new ClientStreamTracer() {
        @Override
        public void streamCreated(Attributes transport, Metadata headers) {
          wasMade = true;
        }
      };
    }
  }

  private record Options(String target, String tlsCa, String token, double seconds, String to, String code) {
    private static final String USAGE =
        "usage: send --target HOST:PORT [--tls-ca FILE] [--token TOKEN] [--timeout SECONDS] --to ADDR --code CODE";
    private static final List<String> NAMES =
        List.of("--target", "--tls-ca", "--token", "--timeout", "--to", "--code");

    static Options parse(String[] arguments) {
      var values = new HashMap<String, String>();
      for (int i = 0; i + 1 < arguments.length && NAMES.contains(arguments[i]); i += 2) {
        values.put(arguments[i], arguments[i + 1]);
      }
      String timeout = values.getOrDefault("--timeout", "30");
      if (values.size() * 2 != arguments.length
          || !values.keySet().containsAll(List.of("--target", "--to", "--code"))
          || !timeout.matches("(?=.*[1-9])\\d+(\\.\\d+)?")) {
        throw new IllegalArgumentException(USAGE);
      }
      return new Options(
          values.get("--target"),
          values.get("--tls-ca"),
          values.get("--token"),
          Double.parseDouble(timeout),
          values.get("--to"),
          values.get("--code"));
    }
  }
}
