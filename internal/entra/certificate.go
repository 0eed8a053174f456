package entra

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// maxCertificateFile is far more than a chain with its key has.
const maxCertificateFile = 1 << 20

// signer is a certificate with its private key; the first of the chain is the
// one that the key belongs to.
type signer struct {
	chain []*x509.Certificate
	key   *rsa.PrivateKey
}

// CertificateEnd is when the certificate of c ends; zero for other methods.
func (c Credential) CertificateEnd() (time.Time, error) {
	if c.Effective() != Certificate {
		return time.Time{}, nil
	}
	s, err := loadCertificate(c.CertificateFile, c.CertificatePassword)
	if err != nil {
		return time.Time{}, err
	}
	return s.chain[0].NotAfter, nil
}

// loadCertificate reads a PEM file, or a PFX file of any age. Its errors are
// sentences for whoever keeps the file, without its content.
func loadCertificate(file, password string) (signer, error) {
	info, err := os.Stat(file)
	if err == nil && info.Size() > maxCertificateFile {
		return signer{}, errors.New("the file is too large to be a certificate")
	}
	content, err := os.ReadFile(file)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return signer{}, fmt.Errorf("the file cannot be read: %w", err)
	}
	var certs []*x509.Certificate
	var key any
	if bytes.Contains(content, []byte("-----BEGIN ")) {
		certs, key, err = fromPEM(content)
	} else {
		certs, key, err = fromPFX(content, password)
	}
	switch {
	case err != nil:
		return signer{}, err
	case len(certs) == 0:
		return signer{}, errors.New("the file holds no certificate")
	case key == nil:
		return signer{}, errors.New("the file holds a certificate without its private key; export it with the key, or append the key to the PEM file")
	}
	return pair(certs, key)
}

// pair finds the certificate that the key belongs to and puts it first.
func pair(certs []*x509.Certificate, key any) (signer, error) {
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return signer{}, errors.New("the private key is not an RSA key, and Entra takes no other")
	}
	for i, c := range certs {
		if public, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); ok && public.Equal(private.Public()) {
			certs[0], certs[i] = certs[i], certs[0]
			return signer{chain: certs, key: private}, nil
		}
	}
	return signer{}, errors.New("the private key belongs to none of the certificates in the file")
}

func fromPEM(content []byte) (certs []*x509.Certificate, key any, err error) {
	for {
		var block *pem.Block
		if block, content = pem.Decode(content); block == nil {
			return certs, key, nil
		}
		switch {
		case block.Type == "CERTIFICATE":
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, nil, errors.New("a certificate in the file is damaged")
			}
			certs = append(certs, c)
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
			return nil, nil, errors.New("the private key in the PEM file is encrypted; use a PFX file for a key with a password")
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			if key != nil {
				return nil, nil, errors.New("the file holds more than one private key")
			}
			if key, err = parseKey(block); err != nil {
				return nil, nil, err
			}
		}
	}
}

func parseKey(block *pem.Block) (any, error) {
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	return nil, errors.New("the private key in the file is damaged")
}

func fromPFX(content []byte, password string) ([]*x509.Certificate, any, error) {
	key, leaf, rest, err := pkcs12.DecodeChain(content, password)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword), errors.Is(err, pkcs12.ErrDecryption):
		return nil, nil, errors.New("the password does not open the PFX file")
	case err != nil:
		if certs, trusted := pkcs12.DecodeTrustStore(content, password); trusted == nil && len(certs) > 0 {
			return certs, nil, nil // certificates without a key
		}
		if strings.Contains(err.Error(), "private key missing") {
			return nil, nil, errors.New("the file holds a certificate without its private key; export it with the key")
		}
		return nil, nil, errors.New("the file is neither PEM nor a PFX file that can be read")
	}
	return append([]*x509.Certificate{leaf}, rest...), key, nil
}
