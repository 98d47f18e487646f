# docker build -t bnas-bench . && docker run --rm -v "$PWD/out:/out" bnas-bench demo
FROM python:3.11-slim
COPY . /src
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu /src && rm -rf /src
WORKDIR /out
ENTRYPOINT ["bnas-bench"]
