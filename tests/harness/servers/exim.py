"""Starts Exim with a configuration, spool, mail and log of its own in one temporary folder, as no privileged user."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.certificates import NAMES, authority
from harness.servers.mail_server import (
    CREDENTIALS,
    GREYLISTED,
    INBOX,
    MAX_MESSAGE_SIZE,
    REFUSED_SUBJECT,
    MailServer,
)
from harness.servers.process import HOST, free_ports, running, server_folder, unprivileged
from harness.servers.programs import MissingServerError, environment, program

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_MESSAGES = 35
"""Per connection; it says 421 to the next one."""
_CONFIGURATION = """\
exim_path = {program}
exim_user = {uid}
exim_group = {gid}
deliver_drop_privilege
keep_environment = LD_LIBRARY_PATH
spool_directory = {folder}/spool
log_file_path = {folder}/log-%s
primary_hostname = mail.example.com
local_interfaces = {host}
daemon_smtp_ports = {clear} : {starttls} : {tls} : {impatient}
tls_on_connect_ports = {tls}
tls_certificate = {folder}/certificate.pem
tls_advertise_hosts = ${{if inlist{{$received_port}}{{{clear}:{impatient}}}{{}}{{*}}}}
auth_advertise_hosts = ${{if def:tls_in_cipher{{*}}}}
message_size_limit = {max_message_size}
smtp_accept_queue_per_connection = 0
smtp_accept_max_per_connection = {max_messages}
smtp_receive_timeout = ${{if eq{{$received_port}}{{{impatient}}}{{1s}}{{5m}}}}
host_lookup =
rfc1413_query_timeout = 0s
bounce_return_message = false
acl_smtp_mail = check_client
acl_smtp_rcpt = check_recipient
acl_smtp_data = check_message

begin acl
check_client:
  accept condition = ${{if inlist{{$received_port}}{{{clear}:{impatient}}}}}
  deny !encrypted = *
       message = 530 5.7.0 Must issue a STARTTLS command first
  accept authenticated = *
  deny message = 530 5.7.0 Authentication required

check_recipient:
  accept condition = ${{if eq{{$local_part@$domain}}{{{inbox}}}}}
  defer condition = ${{if eq{{$local_part@$domain}}{{{greylisted}}}}}
        message = 450 4.2.0 Come back later
  deny message = 550 5.1.1 No such user

check_message:
  deny condition = ${{if eq{{$h_subject:}}{{{refused_subject}}}}}
       message = 550 5.7.1 No such subject here
  accept

begin routers
inbox:
  driver = accept
  transport = maildir

begin transports
maildir:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
  user = {uid}
  group = {gid}

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{ {{eq{{$auth2}}{{{user}}}}} {{eq{{$auth3}}{{{password}}}}} }}}}
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = <| Username: | Password:
  server_condition = ${{if and{{ {{eq{{$auth1}}{{{user}}}}} {{eq{{$auth2}}{{{password}}}}} }}}}
cram_md5:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${{if eq{{$auth1}}{{{user}}}{{{password}}}fail}}
"""


def check() -> None:
    """Say whether Exim can be started.

    Raises:
        MissingServerError: It cannot.
    """
    exim = program("exim4", "exim")
    tried = subprocess.run(  # noqa: S603 - the command is the harness's own
        [exim, "-C", os.devnull, "-bV"], env=environment(), capture_output=True, text=True, check=False
    )
    if tried.returncode != 0:
        raise MissingServerError(f"{exim.name} does not start: {tried.stderr.strip()}")


@contextmanager
def running_exim() -> Iterator[MailServer]:
    """Run Exim."""
    account = unprivileged()
    clear, starttls, tls, impatient = free_ports(4)
    with server_folder() as folder:
        configuration = folder / "configuration"
        configuration.write_text(
            _CONFIGURATION.format(
                program=program("exim4", "exim"),
                folder=folder,
                host=HOST,
                uid=account.pw_uid,
                gid=account.pw_gid,
                clear=clear,
                starttls=starttls,
                tls=tls,
                impatient=impatient,
                max_messages=MAX_MESSAGES,
                inbox=INBOX,
                greylisted=GREYLISTED,
                refused_subject=REFUSED_SUBJECT,
                max_message_size=MAX_MESSAGE_SIZE,
                user=CREDENTIALS.user,
                password=CREDENTIALS.password,
            )
        )
        authority().issue_cert(*NAMES).private_key_and_cert_chain_pem.write_to_path(str(folder / "certificate.pem"))
        os.chown(folder, account.pw_uid, account.pw_gid)
        with running(
            [program("exim4", "exim"), "-C", configuration, "-bdf"],
            folder=folder,
            ports=(clear, starttls, tls, impatient),
            account=account,
        ):
            yield MailServer(
                name="exim",
                clear_port=clear,
                starttls_port=starttls,
                tls_port=tls,
                impatient_port=impatient,
                maildir=folder / "mail",
                log=folder / "log-main",
            )
