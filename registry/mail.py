"""Sends a notice by mail."""

import smtplib
import ssl
from email.message import EmailMessage

from registry.delivery import TIMEOUT_S, secret
from registry.fleet import Email
from supply_chain.errors import InvalidInput


def send(mail: Email, subject: str, text: str) -> None:
    """Hands one message to the mail server.

    Raises OSError (smtplib's errors are kinds of it) when it is not taken, InvalidInput for a variable
    that is not set or is no `host:port`.
    """
    host, _, port = secret(mail.server_env).rpartition(":")
    if not host or not port.isdigit():
        raise InvalidInput(f"{mail.server_env} is no mail server; expected host:port")
    message = EmailMessage()
    message["From"], message["To"] = mail.sender, ", ".join(mail.to)
    message["Subject"] = " ".join(subject.split())[:200]
    message.set_content(text)
    context = ssl.create_default_context()
    with _connected(mail, host, int(port), context) as server:
        if mail.tls == "starttls":
            server.starttls(context=context)
        if mail.user_env and mail.password_env:
            server.login(secret(mail.user_env), secret(mail.password_env))
        server.send_message(message)


def _connected(mail: Email, host: str, port: int, context: ssl.SSLContext) -> smtplib.SMTP:
    if mail.tls == "tls":
        return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=context)
    return smtplib.SMTP(host, port, timeout=TIMEOUT_S)
