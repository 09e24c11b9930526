// Stands between an RTMP publisher and a server and keeps what the publisher says: node record.mjs PORT SERVER_PORT FILE
//
// Ends with the publisher's connection and prints, for each time that the server had spoken, how many bytes the publisher had said.
import { createServer, connect } from 'node:net';
import { writeFileSync } from 'node:fs';

const [port, target, file] = process.argv.slice(2);
const server = createServer({ noDelay: true }, (client) => {
    const said = [];
    const heard = [];
    let length = 0;
    const upstream = connect({ port: Number(target), host: '127.0.0.1', noDelay: true });
    client.on('data', (bytes) => {
        said.push(bytes);
        length += bytes.length;
        upstream.write(bytes);
    });
    upstream.on('data', (bytes) => {
        heard.push([length, bytes.length]);
        client.write(bytes);
    });
    client.on('end', () => upstream.end());
    upstream.on('end', () => client.end());
    for (const socket of [client, upstream]) {
        socket.on('error', () => {});
    }
    client.on('close', () => {
        writeFileSync(file, Buffer.concat(said));
        console.log(`${length} bytes; the server spoke after`, JSON.stringify(heard));
        process.exit(0);
    });
});
server.listen(Number(port), '127.0.0.1');
