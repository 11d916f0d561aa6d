import fs from 'node:fs'
import path from 'node:path'
import { aptInstall, findOnPath, isProgram } from './programs.ts'
import { freePort, privateFolder, SetUpError, type Stop, startServer } from './server.ts'

// Users' PATH often lacks this folder.
const find = () => findOnPath('nginx') ?? ['/usr/sbin/nginx'].find(isProgram)

/** Debian's nginx, which is installed if necessary. */
async function findNginx(): Promise<string> {
  const instructions = 'This test needs nginx: install nginx-light (sudo apt-get install nginx-light).'
  if (!find()) await aptInstall(['nginx-light'], instructions)
  const program = find()
  if (!program) throw new SetUpError(instructions)
  return program
}

/** With the buffers that are nginx's default: 4 KB for the headers of a response, 8 KB for one of a request. */
const configuration = (port: number, upstream: number) => `
daemon off;
pid nginx.pid;
worker_processes 1;
error_log stderr notice;
events {}
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${kind};`).join('\n  ')}
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate cert.pem;
    ssl_certificate_key key.pem;
    location / {
      proxy_pass http://127.0.0.1:${upstream};
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }
  }
}
`

/** Starts nginx with TLS in front of a host. @param upstream the host's port */
export async function startNginx(
  upstream: number,
  { key, cert }: { key: string; cert: string },
): Promise<{ url: string; stop: Stop }> {
  const program = await findNginx()
  const folder = privateFolder()
  const port = await freePort()
  fs.writeFileSync(path.join(folder, 'nginx.conf'), configuration(port, upstream))
  fs.writeFileSync(path.join(folder, 'cert.pem'), cert)
  fs.writeFileSync(path.join(folder, 'key.pem'), key)
  const args = ['-p', folder, '-c', 'nginx.conf', '-e', 'stderr']
  const stop = await startServer(program, args, folder, { ready: /start worker process/, signal: 'QUIT' })
  return { url: `https://localhost:${port}`, stop }
}
