/** Sends a sign-in code through smtpconnector and says what to do when that fails. */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";

import { ChannelCredentials, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { BadRequest, ErrorInfo, RetryInfo } from "nice-grpc-error-details";
import { Status } from "nice-grpc-error-details/lib/proto/google/rpc/status.js";

import {
  ConnectorServiceClient,
  SendMessageRequest,
  type SendMessageResponse,
} from "./gen/smtpconnector/v1/connector_service.js";

const USAGE =
  "usage: send --target HOST:PORT [--tls-ca FILE] [--token TOKEN] [--timeout SECONDS] --to ADDR --code CODE";

enum Exit {
  Refused = 1, // not sent, and the same request fails again
  Usage = 2,
  Uncertain = 3, // perhaps sent
  TryLater = 4, // not sent
}

// UNAVAILABLE is the one code that means "not sent, try again".
const SERVICE_CONFIG = `{
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
}`;

/** A call that failed, and whether it ever got a connection. */
class Failed extends Error {
  constructor(
    readonly error: ServiceError,
    readonly connected: boolean,
  ) {
    super(error.message, { cause: error });
  }
}

async function main(): Promise<number> {
  const options = readOptions();
  // A backend makes one client when it starts and keeps it.
  const client = connect(options.target, options.tlsCa);
  try {
    const sent = await send(client, options);
    console.log(`Accepted by ${sent.host}: ${sent.reply?.code} ${sent.reply?.text}`);
    console.log(`Message-ID: ${sent.messageId}`);
    return 0;
  } catch (failed) {
    if (!(failed instanceof Failed)) throw failed;
    const [text, exit] = explain(failed, options.target);
    console.error(text);
    return exit;
  } finally {
    client.close();
  }
}

type Options = ReturnType<typeof readOptions>;

function readOptions() {
  const string = { type: "string" } as const;
  const { values } = parseArgs({
    options: { target: string, "tls-ca": string, token: string, timeout: string, to: string, code: string },
  });
  const { target, to, code, token, timeout = "30", "tls-ca": tlsCa } = values;
  if (!target || !to || !code || !(Number(timeout) > 0)) throw new TypeError(USAGE);
  return { target, to, code, token, seconds: Number(timeout), tlsCa };
}

/** Speaks TLS to every machine but this one. Does not wait for the connection. */
function connect(target: string, tlsCa: string | undefined): ConnectorServiceClient {
  const isThisMachine = /^(localhost|127(\.\d+){3}|\[::1\]):\d+$/.test(target);
  let transport: ChannelCredentials;
  if (tlsCa) transport = credentials.createSsl(readFileSync(tlsCa));
  else transport = isThisMachine ? credentials.createInsecure() : credentials.createSsl();
  return new ConnectorServiceClient(target, transport, {
    "grpc.service_config": SERVICE_CONFIG,
    // The server allows a ping each 30 s. Without pings a NAT forgets a connection that is seldom used.
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
    "grpc.keepalive_permit_without_calls": 1,
  });
}

function send(client: ConnectorServiceClient, options: Options): Promise<SendMessageResponse> {
  const request = SendMessageRequest.fromPartial({ to: options.to, type: "SignIn", payload: { code: options.code } });
  const metadata = new Metadata();
  if (options.token) metadata.set("authorization", `Bearer ${options.token}`);
  const deadline = Date.now() + options.seconds * 1000; // of the whole call, retries included
  return new Promise((resolve, reject) => {
    const call = client.sendMessage(request, metadata, { deadline }, (error, response) => {
      if (!error) return resolve(response);
      // Without a connection there is no peer, and gRPC tells what it was asked for.
      reject(new Failed(error, call.getPeer() !== client.getChannel().getTarget()));
    });
  });
}

/** Says what happened to the mail and what a person should do, and the exit code for it. */
function explain({ error, connected }: Failed, target: string): [string, Exit] {
  const { info, badRequest, retryInfo } = detailsOf(error);
  if (info?.domain !== "smtpconnector.v1") return explainNoAnswer(error, connected, target);

  const violations = (badRequest?.fieldViolations ?? [])
    .filter((violation) => !error.details.includes(violation.description))
    .map((violation) => `\n  ${violation.field}: ${violation.description}`);
  const what = `${error.details} [${info.reason}]${violations.join("")}`;
  if (info.metadata["outcome"] === "UNKNOWN") return perhapsSent(what);
  switch (error.code) {
    case status.UNAVAILABLE:
    case status.RESOURCE_EXHAUSTED: {
      const delay = retryInfo?.retryDelay;
      const soon = delay ? `in ${Math.ceil(delay.seconds + delay.nanos / 1e9)} s` : "soon";
      return notSent(what, `try again ${soon}.`, Exit.TryLater);
    }
    case status.DEADLINE_EXCEEDED:
    case status.CANCELLED:
      return notSent(what, "try again, with a longer --timeout.", Exit.TryLater);
    case status.INVALID_ARGUMENT:
      return notSent(what, "correct the request; the same one fails again.", Exit.Refused);
    case status.UNAUTHENTICATED:
      return notSent(what, "give a valid --token; whoever runs the service can tell you one.", Exit.Refused);
    default:
      return notSent(
        what,
        "ask whoever runs the service to mend it; the same request fails again until then.",
        Exit.Refused,
      );
  }
}

function detailsOf(error: ServiceError): { info?: ErrorInfo; badRequest?: BadRequest; retryInfo?: RetryInfo } {
  const [octets] = error.metadata.get("grpc-status-details-bin");
  const find = <Detail>(type: { $type: string; decode(octets: Uint8Array): Detail }): Detail | undefined => {
    const packed = details.find((detail) => detail.typeUrl.endsWith(`/${type.$type}`));
    return packed && type.decode(packed.value);
  };
  const { details } = octets instanceof Buffer ? Status.decode(octets) : { details: [] };
  return { info: find(ErrorInfo), badRequest: find(BadRequest), retryInfo: find(RetryInfo) };
}

/** Explains what does not come from the service but from gRPC, or from something in between. */
function explainNoAnswer(error: ServiceError, connected: boolean, target: string): [string, Exit] {
  const what = `${error.details} [${status[error.code]}]`;
  if (!connected && [status.UNAVAILABLE, status.DEADLINE_EXCEEDED].includes(error.code)) {
    return notSent(
      `cannot reach ${target}: ${what}`,
      "check --target and --tls-ca, and that the service runs; then try again.",
      Exit.TryLater,
    );
  }
  const atTheDoor = [status.UNAUTHENTICATED, status.PERMISSION_DENIED, status.RESOURCE_EXHAUSTED, status.UNIMPLEMENTED];
  if (!connected || atTheDoor.includes(error.code)) {
    return notSent(`refused before it reached the service: ${what}`, "check --target and --token.", Exit.Refused);
  }
  return perhapsSent(`no answer from ${target}: ${what}`);
}

function notSent(what: string, todo: string, exit: Exit): [string, Exit] {
  return [`Not sent: ${what}\nWhat to do: ${todo}`, exit];
}

function perhapsSent(what: string): [string, Exit] {
  return [
    `Perhaps sent: ${what}\nWhat to do: ask the recipient whether it came before you send again; ` +
      "a second try may send it twice.",
    Exit.Uncertain,
  ];
}

try {
  process.exitCode = await main();
} catch (error) {
  // The command line is wrong: an option, a file, a token that no header can hold.
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = Exit.Usage;
}
