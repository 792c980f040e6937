//! Sends a sign-in code through smtpconnector and says what to do when that fails.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use prost_types::{Struct, Value, value::Kind};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tonic::{Code, ConnectError, Request, Status};
use tonic_types::{ErrorInfo, StatusExt};

use smtpconnector_v1::connector_service_client::ConnectorServiceClient;
use smtpconnector_v1::{SendMessageRequest, SendMessageResponse};

mod smtpconnector_v1 {
    #![allow(clippy::all)]
    tonic::include_proto!("smtpconnector.v1");
}

const REFUSED: u8 = 1; // not sent, and the same request fails again
const USAGE: u8 = 2;
const UNCERTAIN: u8 = 3; // perhaps sent
const TRY_LATER: u8 = 4; // not sent

const MAX_ATTEMPTS: u32 = 5;
const FIRST_BACKOFF: Duration = Duration::from_millis(300); // doubled after each attempt

/// Sends a sign-in code through smtpconnector
#[derive(Parser)]
struct Options {
    /// The service
    #[arg(long, value_name = "HOST:PORT")]
    target: String,
    /// The authority (PEM) that vouches for the service
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// What the service knows this caller by
    #[arg(long)]
    token: Option<String>,
    /// For the call, retries included
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    timeout: Duration,
    /// The recipient
    #[arg(long, value_name = "ADDR")]
    to: String,
    /// The code to send
    #[arg(long)]
    code: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    let (endpoint, token) = match prepare(&options) {
        Ok(prepared) => prepared,
        Err(wrong) => {
            eprintln!("{wrong}");
            return USAGE.into();
        }
    };
    // A backend makes one client when it starts and clones it for each task; the clones share the connection.
    let client = ConnectorServiceClient::new(endpoint.connect_lazy());
    match send(client, token, &options).await {
        Ok(sent) => {
            let reply = sent.reply.unwrap_or_default();
            println!("Accepted by {}: {} {}", sent.host, reply.code, reply.text);
            println!("Message-ID: {}", sent.message_id);
            ExitCode::SUCCESS
        }
        Err(status) => {
            let (text, exit_code) = explain(&status, &options.target);
            eprintln!("{text}");
            exit_code.into()
        }
    }
}

fn seconds(text: &str) -> Result<Duration, Box<dyn Error + Send + Sync>> {
    let duration = Duration::try_from_secs_f64(text.parse()?)?;
    if duration.is_zero() {
        Err("must be more than 0".into())
    } else {
        Ok(duration)
    }
}

type Token = MetadataValue<Ascii>;

/// Speaks TLS to every machine but this one.
fn prepare(options: &Options) -> Result<(Endpoint, Option<Token>), Box<dyn Error>> {
    let host = options
        .target
        .rsplit_once(':')
        .map_or("", |(host, _)| host.trim_matches(['[', ']']));
    let is_this_machine =
        host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    let tls = match &options.tls_ca {
        Some(file) => {
            let pem =
                std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
            Some(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
        }
        None if is_this_machine => None,
        None => Some(ClientTlsConfig::new().with_native_roots()),
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}", options.target))?
        .connect_timeout(Duration::from_secs(5))
        // The server allows a ping each 30 s. Without pings a NAT forgets a connection that is seldom used.
        .http2_keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(20))
        .keep_alive_while_idle(true);
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls)?;
    }
    let token = options
        .token
        .as_ref()
        .map(|token| format!("Bearer {token}").parse())
        .transpose()?;
    Ok((endpoint, token))
}

/// Sends; tries again after UNAVAILABLE, the one code that means "not sent, try again". tonic has no service config.
async fn send(
    mut client: ConnectorServiceClient<tonic::transport::Channel>,
    token: Option<Token>,
    options: &Options,
) -> Result<SendMessageResponse, Status> {
    let deadline = Instant::now() + options.timeout; // of the whole call, retries included
    let code = Value {
        kind: Some(Kind::StringValue(options.code.clone())),
    };
    let message = SendMessageRequest {
        to: options.to.clone(),
        r#type: "SignIn".into(),
        payload: Some(Struct {
            fields: BTreeMap::from([("code".into(), code)]),
        }),
        ..Default::default()
    };
    let mut attempt = 1;
    loop {
        let mut request = Request::new(message.clone());
        request.set_timeout(deadline - Instant::now()); // tells the server
        if let Some(token) = &token {
            request
                .metadata_mut()
                .insert("authorization", token.clone());
        }
        let answer = timeout_at(deadline, client.send_message(request)).await;
        let status = match answer
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("the deadline passed")))
        {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) => status,
        };
        match delay_of_retry(&status, attempt) {
            Some(delay) if Instant::now() + delay < deadline => sleep(delay).await,
            _ => return Err(status),
        }
        attempt += 1;
    }
}

/// Says when to try again. Never after a connection that broke during the call: the mail may have left.
fn delay_of_retry(status: &Status, attempt: u32) -> Option<Duration> {
    let is_not_sent =
        status.code() == Code::Unavailable && (info(status).is_some() || !was_connected(status));
    if !is_not_sent || attempt == MAX_ATTEMPTS {
        return None;
    }
    match status.metadata().get("grpc-retry-pushback-ms") {
        // The server asks for a delay, or by a negative one for no retry.
        Some(asked) => Some(Duration::from_millis(asked.to_str().ok()?.parse().ok()?)),
        None => Some(FIRST_BACKOFF * 2u32.pow(attempt - 1)),
    }
}

/// Says what happened to the mail and what a person should do, and the exit code for it.
fn explain(status: &Status, target: &str) -> (String, u8) {
    let Some(info) = info(status) else {
        return explain_no_answer(status, target);
    };
    let message = status.message();
    let mut what = format!("{message} [{}]", info.reason);
    for violation in status
        .get_details_bad_request()
        .map_or(vec![], |found| found.field_violations)
    {
        if !message.contains(&violation.description) {
            what += &format!("\n  {}: {}", violation.field, violation.description);
        }
    }
    if info
        .metadata
        .get("outcome")
        .is_some_and(|outcome| outcome == "UNKNOWN")
    {
        return perhaps_sent(&what);
    }
    match status.code() {
        Code::Unavailable | Code::ResourceExhausted => {
            let delay = status
                .get_details_retry_info()
                .and_then(|info| info.retry_delay);
            let soon = delay.map_or("soon".into(), |delay| {
                format!("in {} s", delay.as_secs_f64().ceil())
            });
            not_sent(&what, &format!("try again {soon}."), TRY_LATER)
        }
        Code::DeadlineExceeded | Code::Cancelled => {
            not_sent(&what, "try again, with a longer --timeout.", TRY_LATER)
        }
        Code::InvalidArgument => not_sent(
            &what,
            "correct the request; the same one fails again.",
            REFUSED,
        ),
        Code::Unauthenticated => not_sent(
            &what,
            "give a valid --token; whoever runs the service can tell you one.",
            REFUSED,
        ),
        _ => not_sent(
            &what,
            "ask whoever runs the service to mend it; the same request fails again until then.",
            REFUSED,
        ),
    }
}

/// Explains what does not come from the service but from gRPC, or from something in between.
fn explain_no_answer(status: &Status, target: &str) -> (String, u8) {
    let cause = sources(status)
        .last()
        .map_or(status.message().into(), |error| error.to_string());
    let what = format!("{cause} [{:?}]", status.code());
    if !was_connected(status) {
        return not_sent(
            &format!("cannot reach {target}: {what}"),
            "check --target and --tls-ca, and that the service runs; then try again.",
            TRY_LATER,
        );
    }
    match status.code() {
        Code::Unauthenticated
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::Unimplemented => not_sent(
            &format!("refused before it reached the service: {what}"),
            "check --target and --token.",
            REFUSED,
        ),
        _ => perhaps_sent(&format!("no answer from {target}: {what}")),
    }
}

fn not_sent(what: &str, todo: &str, exit_code: u8) -> (String, u8) {
    (format!("Not sent: {what}\nWhat to do: {todo}"), exit_code)
}

fn perhaps_sent(what: &str) -> (String, u8) {
    let todo =
        "ask the recipient whether it came before you send again; a second try may send it twice.";
    (
        format!("Perhaps sent: {what}\nWhat to do: {todo}"),
        UNCERTAIN,
    )
}

/// What the service says; None where the error is not the service's.
fn info(status: &Status) -> Option<ErrorInfo> {
    status
        .get_details_error_info()
        .filter(|info| info.domain == "smtpconnector.v1")
}

fn was_connected(status: &Status) -> bool {
    !sources(status).any(|error| error.is::<ConnectError>())
}

fn sources(status: &Status) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(status.source(), |&error| error.source())
}
