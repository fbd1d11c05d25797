import io.grpc.Channel;
import io.grpc.ManagedChannel;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.AbstractStub;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Iterator;
import java.util.function.Function;
import yandex.cloud.api.ai.foundation_models.v1.TextCommon.CompletionOptions;
import yandex.cloud.api.ai.foundation_models.v1.TextCommon.Message;
import yandex.cloud.api.ai.foundation_models.v1.TextGenerationAsyncServiceGrpc;
import yandex.cloud.api.ai.foundation_models.v1.TextGenerationAsyncServiceGrpc.TextGenerationAsyncServiceBlockingStub;
import yandex.cloud.api.ai.foundation_models.v1.TextGenerationServiceGrpc;
import yandex.cloud.api.ai.foundation_models.v1.TextGenerationServiceGrpc.TextGenerationServiceBlockingStub;
import yandex.cloud.api.ai.foundation_models.v1.TextGenerationServiceOuterClass.CompletionRequest;
import yandex.cloud.api.ai.foundation_models.v1.TextGenerationServiceOuterClass.CompletionResponse;
import yandex.cloud.api.operation.OperationOuterClass.Operation;
import yandex.cloud.api.operation.OperationServiceGrpc;
import yandex.cloud.api.operation.OperationServiceGrpc.OperationServiceBlockingStub;
import yandex.cloud.sdk.ServiceFactory;
import yandex.cloud.sdk.auth.Auth;
import yandex.cloud.sdk.utils.OperationUtils;

/**
 * A client of Foundation Models on the official Java SDK: it completes a text, streams one, and defers one and waits for it.
 * In production and against the emulator it is the same program; only its environment differs:
 *
 * <ul>
 *   <li>YC_FOLDER_ID: the folder to work in</li>
 *   <li>YC_IAM_TOKEN: a token; for the emulator any will do</li>
 *   <li>YC_API_ENDPOINT: where the SDK asks for the services' addresses; without it the SDK knows them itself</li>
 *   <li>YC_PLAINTEXT: {@code yes} calls YC_API_ENDPOINT itself, without TLS</li>
 * </ul>
 *
 * The emulator's certificate is trusted with
 * {@code java -Djavax.net.ssl.trustStore=ca.p12 -Djavax.net.ssl.trustStorePassword=changeit}, where the store is made by
 * {@code keytool -importcert -noprompt -file ca.pem -keystore ca.p12 -storepass changeit}.
 */
public final class Client {
  private static final Duration PATIENCE = Duration.ofMinutes(1);
  private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

  private final ServiceFactory factory;
  private final ManagedChannel plaintext;

  private Client(ServiceFactory factory, ManagedChannel plaintext) {
    this.factory = factory;
    this.plaintext = plaintext;
  }

  public static void main(String[] arguments) throws Exception {
    Client client = fromEnvironment();
    String question = String.join(" ", arguments);
    client.complete(question);
    client.stream(question);
    client.deferred(question);
    System.exit(0); // The SDK keeps its channels to itself, and their threads would outlive main.
  }

  private static Client fromEnvironment() {
    ServiceFactory.ServiceFactoryBuilder builder =
        ServiceFactory.builder()
            .credentialProvider(Auth.iamTokenBuilder().token(System.getenv("YC_IAM_TOKEN")))
            .requestTimeout(PATIENCE);
    String endpoint = System.getenv("YC_API_ENDPOINT");
    if ("yes".equals(System.getenv("YC_PLAINTEXT"))) {
      // The SDK's own channels speak TLS, so without it there is one channel for everything.
      return new Client(builder.build(), NettyChannelBuilder.forTarget(endpoint).usePlaintext().build());
    }
    return new Client((endpoint == null ? builder : builder.endpoint(endpoint)).build(), null);
  }

  private <S extends AbstractStub<S>> S stub(Class<S> type, Function<Channel, S> create) {
    return plaintext == null ? factory.create(type, create) : factory.create(plaintext, create);
  }

  /** Asks for the whole answer at once. */
  private void complete(String question) {
    CompletionResponse answer = texts().completion(request(question, false)).next();
    OUT.printf("completion: %s (%d tokens)%n", textOf(answer), answer.getUsage().getTotalTokens());
  }

  /** Asks for the answer as it grows: every message holds all the text so far. */
  private void stream(String question) {
    Iterator<CompletionResponse> answers = texts().completion(request(question, true));
    answers.forEachRemaining(answer -> OUT.printf("stream: %s [%s]%n", textOf(answer), statusOf(answer)));
  }

  /** Asks for an operation, and polls it until it is done. */
  private void deferred(String question) throws Exception {
    Operation begun =
        stub(TextGenerationAsyncServiceBlockingStub.class, TextGenerationAsyncServiceGrpc::newBlockingStub)
            .completion(request(question, false));
    OUT.printf("operation: %s, done: %b%n", begun.getDescription(), begun.getDone());
    OperationServiceBlockingStub operations =
        stub(OperationServiceBlockingStub.class, OperationServiceGrpc::newBlockingStub);
    Operation done = OperationUtils.wait(operations, begun, PATIENCE, Duration.ofMillis(200));
    if (done.hasError()) {
      throw new IllegalStateException("deferred: " + done.getError().getMessage());
    }
    OUT.printf("deferred: %s%n", textOf(done.getResponse().unpack(CompletionResponse.class)));
  }

  private TextGenerationServiceBlockingStub texts() {
    return stub(TextGenerationServiceBlockingStub.class, TextGenerationServiceGrpc::newBlockingStub);
  }

  private static CompletionRequest request(String question, boolean stream) {
    return CompletionRequest.newBuilder()
        .setModelUri("gpt://" + System.getenv("YC_FOLDER_ID") + "/yandexgpt/latest")
        .setCompletionOptions(CompletionOptions.newBuilder().setStream(stream))
        .addMessages(Message.newBuilder().setRole("user").setText(question))
        .build();
  }

  private static String textOf(CompletionResponse answer) {
    return answer.getAlternatives(0).getMessage().getText();
  }

  private static String statusOf(CompletionResponse answer) {
    return answer.getAlternatives(0).getStatus().name().replace("ALTERNATIVE_STATUS_", "");
  }
}
