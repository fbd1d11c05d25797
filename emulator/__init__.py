"""A local emulator of Yandex Cloud's Foundation Models gRPC API."""
