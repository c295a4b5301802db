// Azure SQL. Only Microsoft Entra identities log in: there is no SQL password.
param location string
param tags object
param serverName string
param adminName string
param adminId string
param adminType string

@description('A DTU tier such as S1, or serverless such as GP_S_Gen5_1.')
param sku string

var isServerless = startsWith(sku, 'GP_S_')
// Enough for a year at 1,000 events an hour, and the most that these sizes include.
var maxBytes = 250 * 1024 * 1024 * 1024

resource server 'Microsoft.Sql/servers@2023-08-01' = {
  name: serverName
  location: location
  tags: tags
  properties: {
    minimalTlsVersion: '1.2'
    publicNetworkAccess: 'Enabled'
    administrators: {
      administratorType: 'ActiveDirectory'
      azureADOnlyAuthentication: true
      principalType: adminType
      login: adminName
      sid: adminId
      tenantId: tenant().tenantId
    }
  }

  // 0.0.0.0 means "from Azure": Container Apps have no fixed address without a network of their own.
  resource azure 'firewallRules' = {
    name: 'azure'
    properties: { startIpAddress: '0.0.0.0', endIpAddress: '0.0.0.0' }
  }
}

resource database 'Microsoft.Sql/servers/databases@2023-08-01' = {
  parent: server
  name: 'miasalud'
  location: location
  tags: tags
  sku: { name: sku }
  properties: {
    maxSizeBytes: maxBytes
    // A bridge asks SQL every second whether a queue is paused, so the database would never pause itself.
    autoPauseDelay: isServerless ? -1 : null
    minCapacity: isServerless ? json('0.5') : null
  }

  resource backups 'backupShortTermRetentionPolicies' = {
    name: 'default'
    properties: { retentionDays: 14 }
  }
}

output id string = database.id
output name string = database.name
output host string = server.properties.fullyQualifiedDomainName
