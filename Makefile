# make demo runs the main job, make test passes the tests: both need Go and
# nothing else. make peers installs the real programs that the tests talk to.
GO ?= go
# The linters are run from source at a pinned version.
LINT = $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.5.0
FUZZTIME ?= 10s
SOAK ?= 10m
RUNS ?= 100
EXIM = /usr/local/lib/exsim-peers/exim

.PHONY: build test race fuzz bench check fmt cover demo peers soak

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/exsim ./cmd/exsim

demo:
	$(GO) run ./cmd/exsim demo

test:
	$(GO) test ./...

race:
	$(GO) test -race ./...

# Every fuzz target for FUZZTIME.
fuzz:
	@set -e; for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $$pkg; \
		done; done

# Beside SIPp and nmap on the same machine; prints ratios.
bench:
	$(GO) run ./cmd/bench

check:
	@test -z "$$(gofmt -l .)" || { echo "make fmt: $$(gofmt -l .)"; exit 1; }
	$(GO) vet ./...
	$(LINT) run
	$(GO) mod tidy -diff

fmt:
	gofmt -w .

cover:
	$(GO) test -coverpkg=./... -coverprofile=coverage.txt ./...
	$(GO) tool cover -func=coverage.txt | tail -1

# Debian packages of the peers; nothing starts by itself.
peers:
	@test "$$(id -u)" = 0 || { echo "make peers needs root: sudo make peers"; exit 1; }
	apt-get update
	@had=; test ! -e /usr/sbin/policy-rc.d || had=yes; \
	test -n "$$had" || { printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; }; \
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
		sip-tester sipsak baresip linphone-cli swaks libnet-ssleay-perl libnet-dns-perl libio-socket-inet6-perl \
		openssl tshark chromium espeak-ng sox multimon-ng bind9-dnsutils stunnel4 libxml2-utils python3-jsonschema \
		kamailio kamailio-tls-modules rtpengine-daemon \
		gsasl krb5-kdc krb5-admin-server krb5-user curl msmtp postfix dovecot-submissiond nodejs node-nodemailer \
		libdb5.3 libgnutls-dane0 libidn12 libnsl2 libpcre2-8-0 \
		nftables iproute2 conntrack procps nmap haproxy nginx-light libnginx-mod-stream mitmproxy; status=$$?; \
	test -n "$$had" || rm -f /usr/sbin/policy-rc.d; exit $$status
	@# Exim is unpacked beside Postfix: Debian installs one of them alone.
	test -x $(EXIM)/usr/sbin/exim4 || { d=$$(mktemp -d) && chmod 755 $$d && cd $$d && apt-get download exim4-daemon-light && \
		mkdir -p $(EXIM) && dpkg -x exim4-daemon-light_*.deb $(EXIM) && rm -r $$d; }
	id Debian-exim > /dev/null 2>&1 || useradd -r -s /usr/sbin/nologin Debian-exim

# What takes longer than a minute: 200 calls a second for SOAK with flat memory,
# as many as go for a third of it, a million hostile messages and as many sessions of mail, a gigabyte without end, every entry of the
# catalogue of data paths through a firewall, and the suite of scenarios RUNS times under load and the race detector without a false alarm.
soak:
	EXSIM_SOAK=$(SOAK) $(GO) test -timeout 60m -run 'TestSoak|TestHostile|TestEndless|TestPathsEachRow' -v ./cmd/... ./sim
	EXSIM_RUNS=$(RUNS) $(GO) test -race -timeout 120m -run TestSoakScenarios -v ./scenarios
