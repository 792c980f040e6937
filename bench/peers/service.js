// The same contract served by Node: @grpc/grpc-js and nodemailer, as people write it. Not checked, not escaped, not
// logged, no outcome told apart: the least that a service of these parts does.
// node service.js LISTEN_PORT PROTOS PROFILE pool|transport-per-mail NODEMAILER
'use strict';
const fs = require('node:fs');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [, , listenPort, protos, profile, way, library] = process.argv;
const nodemailer = require(library);
const configuration = JSON.parse(fs.readFileSync(profile, 'utf8'));
const definition = loader.loadSync('smtpconnector/v1/connector_service.proto', { includeDirs: [protos], keepCase: true });
const { ConnectorService } = grpc.loadPackageDefinition(definition).smtpconnector.v1;

const { templates, fromEmail, ...options } = configuration;
if (options.auth && !options.auth.user) delete options.auth; // nodemailer's word for no log-in
const pool = way === 'pool' ? nodemailer.createTransport({ ...options, pool: true }) : null;

const fill = (text, values) => text.replace(/{{\s*([\w.]+)\s*}}/g, (match, name) => values[name] ?? match);

async function sendMessage({ request }, answer) {
  try {
    const values = {};
    for (const [name, value] of Object.entries(request.payload.fields)) values[name] = value[value.kind] ?? value.stringValue;
    const template = templates.find(({ usageType }) => usageType === request.type);
    const content = fill(template.content, values);
    const transport = pool ?? nodemailer.createTransport({ ...options, pool: false });
    const sent = await transport.sendMail({
      from: fromEmail,
      to: request.to,
      subject: fill(template.subject, values),
      ...(template.contentType === 'text/html' ? { html: content } : { text: content }),
    });
    answer(null, { message_id: sent.messageId, usage_type: request.type, host: options.host, attempts: 1,
      reply: { code: Number(sent.response.slice(0, 3)), text: sent.response } });
  } catch (error) {
    answer({ code: grpc.status.UNKNOWN, details: String(error) });
  }
}

const server = new grpc.Server();
server.addService(ConnectorService.service, { SendMessage: sendMessage });
server.bindAsync(`127.0.0.1:${listenPort}`, grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
});
