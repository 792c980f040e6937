"""Starts Postfix as an instance of its own: configuration, queue, mail and log in one temporary folder."""

from __future__ import annotations

import os
import pwd
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from harness.certificates import NAMES, authority
from harness.servers.mail_server import (
    CREDENTIALS,
    GREYLISTED,
    INBOX,
    MAX_MESSAGE_SIZE,
    MECHANISMS,
    REFUSED_SUBJECT,
    MailServer,
)
from harness.servers.process import HOST, free_ports, running, server_folder
from harness.servers.programs import MissingServerError, environment, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LIFETIME_SECONDS = 900
"""It ends by itself after this time, should all else fail."""
_OWNER = "mail"
_GROUP = "utmp"
"""Postfix wants an account and a group of its own; these two every Debian has, also one without Postfix."""
_QUEUES = (
    *("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming"),
    *("maildrop", "private", "public", "saved", "trace"),
)
_MAIN = """\
compatibility_level = 3.6
import_environment = MAIL_CONFIG LD_LIBRARY_PATH
command_directory = {commands}
daemon_directory = {daemons}
queue_directory = {folder}/queue
data_directory = {folder}/data
mail_owner = {owner}
setgid_group = {group}
default_privs = nobody
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = mail.example.com
inet_interfaces = {host}
inet_protocols = ipv4
mydestination =
mynetworks =
alias_maps =
local_recipient_maps =
message_size_limit = {max_message_size}
default_transport = error:this is a test
virtual_transport = virtual
virtual_mailbox_domains = example.com
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = inline:{{ {inbox}=inbox/, {greylisted}=inbox/ }}
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access inline:{{ {{ {greylisted} = 450 4.2.0 Come back later }} }}
header_checks = regexp:{{ {{ /^Subject: {refused_subject}/ REJECT No such subject here }} }}
smtpd_tls_chain_files = {folder}/certificate.pem
smtpd_sasl_type = cyrus
smtpd_sasl_path = smtpd
broken_sasl_auth_clients = no
"""
_MASTER = """\
{clear} inet n - n - - smtpd
{starttls} inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
{tls} inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
{impatient} inet n - n - - smtpd
  -o smtpd_timeout=1s
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
_SASL = """\
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {folder}/etc/sasl/sasldb2
mech_list: {mechanisms}
"""


def check() -> None:
    """Say whether Postfix can be started.

    Raises:
        MissingServerError: It cannot.
    """
    program("master")
    program("saslpasswd2")
    if os.geteuid() != 0:
        raise MissingServerError("only root can start Postfix")


@contextmanager
def running_postfix() -> Iterator[MailServer]:
    """Run Postfix."""
    owner = pwd.getpwnam(_OWNER)
    clear, starttls, tls, impatient = free_ports(4)
    with server_folder() as folder:
        values = {
            "folder": folder,
            "host": HOST,
            "commands": program("smtp-sink").parent,
            "daemons": program("master").parent,
            "owner": _OWNER,
            "group": _GROUP,
            "uid": owner.pw_uid,
            "gid": owner.pw_gid,
            "inbox": INBOX,
            "greylisted": GREYLISTED,
            "refused_subject": REFUSED_SUBJECT,
            "max_message_size": MAX_MESSAGE_SIZE,
            "mechanisms": " ".join(MECHANISMS),
            "clear": clear,
            "starttls": starttls,
            "tls": tls,
            "impatient": impatient,
        }
        configuration = folder / "etc"
        (configuration / "sasl").mkdir(parents=True)
        for file, template in (("main.cf", _MAIN), ("master.cf", _MASTER), ("sasl/smtpd.conf", _SASL)):
            (configuration / file).write_text(template.format_map(values))
        authority().issue_cert(*NAMES).private_key_and_cert_chain_pem.write_to_path(str(folder / "certificate.pem"))
        (folder / "queue/pid").mkdir(parents=True)
        for name in ("data", "mail", *(f"queue/{queue}" for queue in _QUEUES)):
            (folder / name).mkdir()
            os.chown(folder / name, owner.pw_uid, owner.pw_gid)
        _add_user(configuration / "sasl/sasldb2")
        os.chown(configuration / "sasl/sasldb2", owner.pw_uid, owner.pw_gid)
        with running(
            [program("master"), "-d", "-c", configuration, "-e", str(_LIFETIME_SECONDS)],
            folder=folder,
            ports=(clear, starttls, tls, impatient),
            variables={"MAIL_CONFIG": str(configuration)},
        ):
            yield MailServer(
                name="postfix",
                clear_port=clear,
                starttls_port=starttls,
                tls_port=tls,
                impatient_port=impatient,
                maildir=folder / "mail/inbox",
                log=folder / "log",
            )


def _add_user(database: Path) -> None:
    user, _, realm = CREDENTIALS.user.partition("@")
    subprocess.run(  # noqa: S603 - the command is the harness's own
        [program("saslpasswd2"), "-p", "-c", "-f", database, "-u", realm, user],
        input=CREDENTIALS.password.encode(),
        env=environment(),
        check=True,
    )
