// A client of Foundation Models on @yandex-cloud/nodejs-sdk: node main.js QUESTION
//
// In production and against the emulator it is the same program; only its environment differs:
//
//     YC_FOLDER_ID, YC_IAM_TOKEN   for the emulator any will do
//     YC_API_ENDPOINT              where all services are; the real ones, each at its own address, unless given
//     YC_PLAINTEXT                 `yes` speaks without TLS
//     YC_CA                        a file with the certificates to trust, for the emulator's own
import { readFileSync } from 'node:fs';
import { credentials } from '@grpc/grpc-js';
import { Session, waitForOperation } from '@yandex-cloud/nodejs-sdk';
import { textCommon, textGenerationService } from '@yandex-cloud/nodejs-sdk/ai-foundation_models-v1';

const { YC_FOLDER_ID, YC_IAM_TOKEN, YC_API_ENDPOINT, YC_PLAINTEXT, YC_CA } = process.env;
const { CompletionRequest, CompletionResponse } = textGenerationService;
const { TextGenerationServiceClient, TextGenerationAsyncServiceClient } = textGenerationService;
const question = process.argv.slice(2).join(' ');

const session = new Session({
  iamToken: YC_IAM_TOKEN,
  ssl: YC_CA ? { rootCerts: readFileSync(YC_CA) } : undefined,
});
if (YC_PLAINTEXT === 'yes') {
  session.channelCredentials = credentials.createInsecure();
}

const request = (stream) =>
  CompletionRequest.fromPartial({
    modelUri: `gpt://${YC_FOLDER_ID}/yandexgpt/latest`,
    completionOptions: { stream, temperature: 0.3, maxTokens: 500 },
    messages: [{ role: 'user', text: question }],
  });
const text = (response) => response.alternatives[0].message.text;
const status = (response) =>
  textCommon.alternative_AlternativeStatusToJSON(response.alternatives[0].status).replace('ALTERNATIVE_STATUS_', '');

const generation = session.client(TextGenerationServiceClient, YC_API_ENDPOINT);
for await (const response of generation.completion(request(false))) {
  console.log(`completion: ${text(response)} (${response.usage.totalTokens} tokens)`);
}
for await (const response of generation.completion(request(true))) {
  console.log(`stream: ${text(response)} [${status(response)}]`);
}

const deferred = session.client(TextGenerationAsyncServiceClient, YC_API_ENDPOINT);
const begun = await deferred.completion(request(false));
console.log(`operation: ${begun.description}, done: ${begun.done}`);
const done = await waitForOperation(begun, session, 60_000, YC_API_ENDPOINT);
console.log(`deferred: ${text(CompletionResponse.decode(done.response.value))}`);
