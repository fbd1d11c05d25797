FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY pyproject.toml README.md ./
COPY emulator ./emulator
# The image needs no pip, so the environment is made without one and filled from outside. Nobody can write bytecode at run
# time, so it is written here, and is not compared with its source again. The package names its versions itself.
# hadolint ignore=DL3013
RUN python -m venv --without-pip /opt/fm-emulator \
    && pip --python /opt/fm-emulator/bin/python install --no-cache-dir --no-compile ".[all,native]" \
    && /opt/fm-emulator/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/fm-emulator/lib \
    && find /opt/fm-emulator/bin ! -type d ! -name 'python*' ! -name fm-emulator -delete

FROM python:3.11-slim
LABEL org.opencontainers.image.title="fm-emulator" \
      org.opencontainers.image.description="A local emulator of Yandex Cloud's Foundation Models gRPC API" \
      org.opencontainers.image.licenses="Apache-2.0"
# The base comes without the standard library's bytecode, which would be compiled anew at every start. Then everything goes
# that only people in a shell use: whoever breaks in finds no shell, no package manager, nothing setuid. What dpkg knows of
# its packages stays, for scanners. No RUN can follow.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
      -x '/(ensurepip|idlelib|lib2to3|pydoc_data|site-packages|test|tests|tkinter|turtledemo)/' \
      "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && rm -rf "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')/ensurepip" \
      "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
      /etc/apt /usr/lib/apt /usr/lib/dpkg /var/lib/apt /var/cache/apt /var/lib/dpkg/info \
      /usr/lib/*/perl* /usr/share/perl* /usr/lib/python3/dist-packages /usr/libexec \
    && find /bin/ /sbin/ /usr/bin /usr/sbin /usr/local/bin /usr/local/sbin /usr/lib \
      ! -type d \( -path '/usr/lib/*' -perm /6000 -o ! -path '/usr/lib/*' \( ! -name 'python*' -o -name '*-config' \) \) -delete
COPY --from=build /opt/fm-emulator /opt/fm-emulator
ENV PATH=/opt/fm-emulator/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    FM_EMULATOR_HOST=0.0.0.0 \
    FM_EMULATOR_FIXTURES=/fixtures
# Empty unless something is mounted here; then every call gets its default reply.
WORKDIR /fixtures
# A number, so that an orchestrator can tell that it is not root.
USER 10001:10001
EXPOSE 50051 50052 50053
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["fm-emulator", "healthcheck"]
ENTRYPOINT ["fm-emulator"]
CMD ["serve"]
