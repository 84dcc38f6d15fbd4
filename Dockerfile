# The page of `galaxy demo`, served by a user without rights. docs/demo.md says how to build and to run it.
FROM python:3.12-slim

WORKDIR /src
COPY pyproject.toml setup.py constraints.txt README.md LICENSE ./
COPY galaxy galaxy
COPY conf conf
COPY hydra_plugins hydra_plugins
# PyTorch for CPUs is a tenth of the size of PyTorch for GPUs.
RUN pip install --no-cache-dir --disable-pip-version-check -c constraints.txt \
    --extra-index-url https://download.pytorch.org/whl/cpu '.[demo,fits,report]'

# Nothing in the image belongs to this user, who has neither a name nor a home.
USER 10001:10001
WORKDIR /tmp
ENV HOME=/tmp MPLCONFIGDIR=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

EXPOSE 8000
HEALTHCHECK --start-period=120s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/api/about', timeout=5)"]
ENTRYPOINT ["galaxy", "demo", "host=0.0.0.0"]
# The run folder and the folder of its data are mounted at these places.
CMD ["run=/model", "data.root=/data", "data.cache=/tmp/cache"]
